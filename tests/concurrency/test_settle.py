"""The ends of a hold, racing each other: one of them happens, and everybody hears of that one."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from hold_fixtures import outcome_of

from service.repository import holds

THREADS = 20
ROUNDS = 20


# The same end, many times


@pytest.mark.parametrize("others", [0, 10_000])
def test_one_settle_is_one_charge(db, new_license, client_hold, at_once, money, others):
    license = new_license(credits=10_100)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    results = at_once(license, [lambda: holds.settle(db, license.key, hold.hold_id, amount=70)] * THREADS)

    assert set(results) == {(70, 0, 10_030, 100, hold.expires_at)}
    assert money(license) == (10_030, others)


@pytest.mark.parametrize("others", [0, 500], ids=["only hold", "beside another hold"])
def test_one_settle_is_one_charge_without_anyone_in_the_way(db, new_license, client_hold, money, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(lambda _: holds.settle(db, license.key, hold.hold_id, amount=60), range(32)))

    assert results == {(60, 0, 940, 100, hold.expires_at)}
    assert money(license) == (940, others)


@pytest.mark.parametrize("balance", [100, 120, 1000])
def test_one_settle_beyond_the_hold_is_one_charge(new_license, process_hold, settle, at_once, money, balance):
    license = new_license(credits=balance)
    hold = process_hold(license)

    results = at_once(license, [lambda: settle(license, hold, 150)] * 5)

    charge = min(balance, 150)
    assert set(results) == {(charge, 150 - charge, balance - charge, 100, None)}
    assert money(license) == (balance - charge, 0)


@pytest.mark.parametrize("others", [0, 900])
def test_one_release_gives_back_once(db, new_license, client_hold, at_once, money, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    results = at_once(license, [lambda: holds.release(db, license.key, hold.hold_id)] * THREADS)

    assert set(results) == {(100, "released", hold.expires_at)}
    assert money(license) == (1000, others)


@pytest.mark.parametrize("others", [0, 500], ids=["only hold", "beside another hold"])
def test_one_release_gives_back_once_without_anyone_in_the_way(db, new_license, client_hold, money, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    with ThreadPoolExecutor(16) as pool:
        results = set(pool.map(lambda _: holds.release(db, license.key, hold.hold_id), range(32)))

    assert results == {(100, "released", hold.expires_at)}
    assert money(license) == (1000, others)


# One end against another


def test_of_two_amounts_one_is_charged(db, new_license, client_hold, at_once, money):
    license = new_license(credits=100)
    hold = client_hold(license)

    results = at_once(
        license,
        [lambda amount=amount: holds.settle(db, license.key, hold.hold_id, amount=amount) for amount in (60, 70)],
    )

    (settled,) = [result for result in results if not isinstance(result, str)]
    assert "hold_not_open" in results
    assert money(license) == (100 - settled.charge, 0)


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("others", [0, 900])
def test_a_settle_and_a_release_cannot_both_win(db, new_license, client_hold, at_once, money, first, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)
    calls = {
        "settle": lambda: holds.settle(db, license.key, hold.hold_id, amount=70),
        "release": lambda: holds.release(db, license.key, hold.hold_id),
    }

    results = at_once(license, [calls.pop(first), *calls.values()])

    assert results.count("hold_not_open") == 1
    (won,) = [result for result in results if not isinstance(result, str)]
    assert money(license) == (1000 - getattr(won, "charge", 0), others)


def test_settle_against_release_without_anyone_in_the_way(db, new_license, client_hold, money):
    license = new_license(credits=100 * ROUNDS)
    outcomes = Counter()
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            hold = client_hold(license)
            settled = pool.submit(outcome_of, holds.settle, db, license.key, hold.hold_id, amount=60)
            released = pool.submit(outcome_of, holds.release, db, license.key, hold.hold_id)
            pair = (settled.result() != "hold_not_open", released.result() != "hold_not_open")
            assert pair in [(True, False), (False, True)]
            outcomes[pair] += 1

    assert money(license) == (100 * ROUNDS - 60 * outcomes[True, False], 0)
