"""Real commits, many at once: the sums are exact and nothing goes below zero."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import uuid4

from hold_fixtures import outcome_of

from service import operator
from service.problems import Problem
from service.repository import ledger
from service.repository.ledger import BatchItem

THREADS = 16
CALLS = 400


def test_one_license_gives_exactly_what_it_has(new_license, deduct, money):
    license = new_license(credits=1000)

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda _: outcome_of(deduct, license, 7), range(CALLS)))

    refused = Counter(result for result in outcomes if isinstance(result, str))
    balances = sorted(result.balance for result in outcomes if not isinstance(result, str))
    assert refused == {"insufficient_credits": CALLS - 142}
    assert balances == [1000 - 7 * n for n in range(142, 0, -1)]
    assert money(license) == (1000 - 142 * 7, 0)


def test_many_licenses_in_random_order_do_not_deadlock(new_license, deduct, money):
    many = [new_license(credits=10_000) for _ in range(5)]
    random = Random(7)
    calls = [(random.choice(many), random.randint(1, 50)) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda call: outcome_of(deduct, *call), calls))

    assert [result for result in outcomes if isinstance(result, str)] == []
    for license in many:
        taken = sum(amount for owner, amount in calls if owner is license)
        assert money(license) == (10_000 - taken, 0)


def test_the_same_key_twenty_times_at_once_is_one_charge(new_license, deduct, money):
    license = new_license(credits=1000)

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda _: deduct(license, 100, key="once"), range(20)))

    assert len(set(outcomes)) == 1
    assert money(license) == (900, 0)


def test_grants_and_deductions_and_refunds_at_once_add_up(owner, new_license, deduct, money):
    license = new_license(credits=1000)

    def mixed(n):
        if n % 3 == 0:
            return operator.grant_credits(owner, license.id, 5)
        deduction = deduct(license, 4)
        return operator.refund(owner, license.id, deduction.deduction_id, reason="test") if n % 3 == 1 else deduction

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(mixed, range(150)))

    assert money(license) == (1000 + 50 * 5 - 50 * 4, 0)


def test_what_is_held_is_not_there_for_two_at_once(new_license, client_hold, deduct, at_once, money):
    """What the first leaves over would do for the second, if none of it were held."""
    license = new_license(credits=120)
    client_hold(license, 40)

    first, second = at_once(license, [lambda: deduct(license, 60)] * 2)

    assert (first.balance, second) == (60, "insufficient_credits")
    assert money(license) == (60, 40)


def test_batches_in_any_order_do_not_deadlock_and_add_up(owner, new_license, deduct, money):
    many = [new_license(credits=100_000) for _ in range(20)]

    def call(number):
        random = Random(number)
        if number % 4 == 0:
            return deduct(random.choice(many), 3)
        # Some of it again: a batch whose reply was lost.
        items = [BatchItem(license.id, uuid4(), 7, f"{number // 2}-{n}", b"", None) for n, license in enumerate(many)]
        random.shuffle(items)
        return ledger.deduct_batch(owner, items)

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda number: outcome_of(call, number), range(80)))

    assert [result for result in outcomes if isinstance(result, str)] == []
    assert [
        result for batch in outcomes if isinstance(batch, list) for result in batch if isinstance(result, Problem)
    ] == []
    # Of 80 calls 20 are single ones, and the batches of two numbers have the same keys.
    assert sum(money(license)[0] for license in many) == 20 * 100_000 - 20 * 3 - 40 * 20 * 7
    assert ledger.verify(owner) == []
