"""Real commits, many at once: the sums are exact and nothing goes below zero."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random
from uuid import uuid4

import pytest

from service.db import Database
from service.problems import Problem
from service.repository import credits, licenses

THREADS = 16
CALLS = 400


def outcome(call, *arguments):
    """The result of a call, or the code of its problem."""
    try:
        return call(*arguments)
    except Problem as problem:
        return problem.code


@pytest.fixture
def db(urls):
    database = Database(urls.service, pool_size=THREADS, wait_s=30)
    yield database
    database.close()


def deduct(db, license, amount, key=None):
    return credits.deduct(db, license.key, uuid4(), amount, key, b"payload", None)


def test_one_license_gives_exactly_what_it_has(db, new_license):
    license = new_license(credits=1000)

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda _: outcome(deduct, db, license, 7), range(CALLS)))

    refused = Counter(result for result in outcomes if isinstance(result, str))
    balances = sorted(result.balance for result in outcomes if not isinstance(result, str))
    assert refused == {"insufficient_credits": CALLS - 142}
    assert balances == [1000 - 7 * n for n in range(142, 0, -1)]
    assert licenses.find(db, license.key).balance == 1000 - 142 * 7


def test_many_licenses_in_random_order_do_not_deadlock(db, new_license):
    many = [new_license(credits=10_000) for _ in range(5)]
    random = Random(7)
    calls = [(random.choice(many), random.randint(1, 50)) for _ in range(CALLS)]

    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = list(pool.map(lambda call: outcome(deduct, db, *call), calls))

    assert [result for result in outcomes if isinstance(result, str)] == []
    for license in many:
        taken = sum(amount for owner, amount in calls if owner is license)
        assert licenses.find(db, license.key).balance == 10_000 - taken


def test_the_same_key_twenty_times_at_once_is_one_charge(db, new_license):
    license = new_license(credits=1000)

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda _: deduct(db, license, 100, key="once"), range(20)))

    assert len(set(outcomes)) == 1
    assert licenses.find(db, license.key).balance == 900


def test_grants_and_deductions_and_refunds_at_once_add_up(db, owner, new_license):
    license = new_license(credits=1000)

    def mixed(n):
        if n % 3 == 0:
            return credits.grant(owner, license.id, uuid4(), 5, None, b"payload", None)
        deduction = deduct(db, license, 4)
        return credits.refund(owner, license.id, deduction.deduction_id, "test") if n % 3 == 1 else deduction

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(mixed, range(150)))

    assert licenses.find(db, license.key).balance == 1000 + 50 * 5 - 50 * 4
