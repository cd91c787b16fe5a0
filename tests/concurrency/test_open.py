"""Races between the calls that open holds: one key is one hold, and all of them together stay below the
balance."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

THREADS = 20


def test_one_key_of_a_client_is_one_hold(new_license, client_hold, at_once, money):
    license = new_license(credits=10_000)

    results = at_once(license, [lambda: client_hold(license, key="k")] * THREADS)

    assert len({result[1:] for result in results}) == 1
    assert Counter(result.outcome for result in results) == {"opened": 1, "replayed": THREADS - 1}
    assert money(license) == (10_000, 100)


def test_one_key_of_a_client_is_one_hold_without_anyone_in_the_way(new_license, client_hold, money):
    license = new_license(credits=10_000)
    barrier = threading.Barrier(THREADS)

    def call(_):
        barrier.wait()
        return client_hold(license, key="k")

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(call, range(THREADS)))

    assert len({result.hold_id for result in results}) == 1
    assert money(license) == (10_000, 100)


def test_one_id_is_one_hold(new_license, process_hold, at_once, money):
    license, hold_id = new_license(credits=10_000), uuid4()

    results = at_once(license, [lambda: process_hold(license, hold_id=hold_id, key="k")] * THREADS)

    assert len(set(results)) == 1
    assert money(license) == (10_000, 100)


def test_one_key_of_a_generation_is_one_generation(new_license, process_hold, at_once, money):
    license = new_license(credits=10_000)

    results = at_once(license, [lambda: process_hold(license, key="k")] * THREADS)

    assert Counter(result if isinstance(result, str) else result.outcome for result in results) == {
        "opened": 1,
        "idempotency_in_progress": THREADS - 1,
    }
    assert money(license) == (10_000, 100)


def test_a_hold_and_a_deduction_cannot_share_a_key(new_license, client_hold, deduct, at_once):
    license = new_license(credits=1000)

    results = at_once(license, [lambda: client_hold(license, key="k"), lambda: deduct(license, key="k")])

    assert [result for result in results if isinstance(result, str)] == ["idempotency_key_reused"]


def test_holds_never_pass_the_balance(new_license, client_hold, at_once, money):
    license = new_license(credits=1000)

    results = at_once(license, [lambda: client_hold(license, 100)] * THREADS)

    assert Counter(result for result in results if isinstance(result, str)) == {"insufficient_credits": 10}
    assert money(license) == (1000, 1000)


def test_generations_take_what_the_ones_before_left_over(new_license, process_hold, at_once, money):
    license = new_license(credits=250)

    results = at_once(license, [lambda: process_hold(license, 100, least=40)] * 5)

    assert sorted(getattr(result, "amount", 0) for result in results) == [0, 0, 50, 100, 100]
    assert money(license) == (250, 250)
