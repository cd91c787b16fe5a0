"""Races between the calls that open, settle, release and expire holds.

`at_once` lets every call wait for the same license row and then go on, one after the other: each
has read what was there before the first one wrote, which is the worst that a race can do.
"""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import psycopg2
import pytest
from factories import wait_until

from service.db import Database
from service.keys import LicenseKey
from service.pricing import CLASSES, HoldSize
from service.problems import Problem
from service.repository import credits, holds, licenses, processes

THREADS = 20
PRICE = dict.fromkeys(CLASSES, 1_000_000)
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock' AND application_name = 'obol'"
)


@pytest.fixture
def db(urls):
    database = Database(urls.service, pool_size=THREADS, wait_s=30)
    yield database
    database.close()


@pytest.fixture
def owner(urls):
    database = Database(urls.owner, pool_size=THREADS, wait_s=30)
    yield database
    database.close()


@pytest.fixture
def at_once(urls, sql):
    """`at_once(license, calls)`: the results, or the codes of the problems, in the order of the calls."""

    def run(license, calls):
        blocker = psycopg2.connect(urls.owner)
        with ThreadPoolExecutor(len(calls)) as pool:
            try:
                blocker.cursor().execute(
                    "SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(license.id),)
                )
                running = []
                for call in calls:
                    running.append(pool.submit(outcome, call))
                    # In the order of the calls: the queue for the row is first come, first served.
                    wait_until(lambda: running[-1].done() or sql(WAITING)[0][0] == waiting(running), what="a lock wait")
            finally:
                blocker.close()
            return [future.result() for future in running]

    return run


def waiting(futures):
    return sum(not future.done() for future in futures)


def outcome(call):
    try:
        return call()
    except Problem as problem:
        return problem.code


@pytest.fixture
def process_id(db):
    process_id = uuid4()
    processes.heartbeat(db, process_id, 60)
    return process_id


@pytest.fixture
def client_hold(db):
    def open_hold(license, amount=100, *, key=None, hold_id=None):
        return holds.open_for_client(db, license.key, hold_id or uuid4(), amount, 60, key, b"one", None)

    return open_hold


@pytest.fixture
def process_hold(db, process_id):
    def open_hold(license, amount=100, *, key=None, hold_id=None, least=None):
        size = HoldSize(amount, amount if least is None else least)
        return holds.open_for_process(
            db, license.key, hold_id or uuid4(), process_id, size, "a-model", PRICE, key, b"one"
        )

    return open_hold


@pytest.fixture
def settle(db, process_id):
    def settle_hold(license, hold, amount):
        return holds.settle(db, license.key, hold.hold_id, amount, process_id, {"output": amount}, b"sealed", 60)

    return settle_hold


def money(db, license):
    found = licenses.find(db, license.key)
    return found.balance, found.held


# Opening


def test_one_key_of_a_client_is_one_hold(db, new_license, client_hold, at_once):
    license = new_license(credits=10_000)

    results = at_once(license, [lambda: client_hold(license, key="k")] * THREADS)

    assert len({result[1:] for result in results}) == 1
    assert Counter(result.outcome for result in results) == {"opened": 1, "replayed": THREADS - 1}
    assert money(db, license) == (10_000, 100)


def test_one_key_of_a_client_is_one_hold_without_anyone_in_the_way(db, new_license, client_hold):
    license = new_license(credits=10_000)
    barrier = threading.Barrier(THREADS)

    def call(_):
        barrier.wait()
        return client_hold(license, key="k")

    with ThreadPoolExecutor(THREADS) as pool:
        results = list(pool.map(call, range(THREADS)))

    assert len({result.hold_id for result in results}) == 1
    assert money(db, license) == (10_000, 100)


def test_one_id_is_one_hold(db, new_license, process_hold, at_once):
    license, hold_id = new_license(credits=10_000), uuid4()

    results = at_once(license, [lambda: process_hold(license, hold_id=hold_id, key="k")] * THREADS)

    assert len(set(results)) == 1
    assert money(db, license) == (10_000, 100)


def test_one_key_of_a_generation_is_one_generation(db, new_license, process_hold, at_once):
    license = new_license(credits=10_000)

    results = at_once(license, [lambda: process_hold(license, key="k")] * THREADS)

    assert Counter(result if isinstance(result, str) else result.outcome for result in results) == {
        "opened": 1,
        "idempotency_in_progress": THREADS - 1,
    }
    assert money(db, license) == (10_000, 100)


def test_a_hold_and_a_deduction_cannot_share_a_key(db, new_license, client_hold, at_once):
    license = new_license(credits=1000)

    results = at_once(
        license,
        [
            lambda: client_hold(license, key="k"),
            lambda: credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None),
        ],
    )

    assert [result for result in results if isinstance(result, str)] == ["idempotency_key_reused"]


def test_holds_never_pass_the_balance(db, new_license, client_hold, at_once):
    license = new_license(credits=1000)

    results = at_once(license, [lambda: client_hold(license, 100)] * THREADS)

    assert Counter(result for result in results if isinstance(result, str)) == {"insufficient_credits": 10}
    assert money(db, license) == (1000, 1000)


def test_generations_take_what_the_ones_before_left_over(db, new_license, process_hold, at_once):
    license = new_license(credits=250)

    results = at_once(license, [lambda: process_hold(license, 100, least=40)] * 5)

    assert sorted(getattr(result, "amount", 0) for result in results) == [0, 0, 50, 100, 100]
    assert money(db, license) == (250, 250)


# Ending the same hold


@pytest.mark.parametrize("others", [0, 10_000])
def test_one_settle_is_one_charge(db, new_license, client_hold, at_once, others):
    license = new_license(credits=10_100)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    results = at_once(license, [lambda: holds.settle(db, license.key, hold.hold_id, 70)] * THREADS)

    assert set(results) == {(70, 0, 10_030, 100, hold.expires_at)}
    assert money(db, license) == (10_030, others)


def test_of_two_amounts_one_is_charged(db, new_license, client_hold, at_once):
    license = new_license(credits=100)
    hold = client_hold(license)

    results = at_once(
        license, [lambda amount=amount: holds.settle(db, license.key, hold.hold_id, amount) for amount in (60, 70)]
    )

    (settled,) = [result for result in results if not isinstance(result, str)]
    assert "hold_not_open" in results
    assert money(db, license) == (100 - settled.charge, 0)


@pytest.mark.parametrize("balance", [100, 120, 1000])
def test_one_settle_beyond_the_hold_is_one_charge(db, new_license, process_hold, settle, at_once, balance):
    license = new_license(credits=balance)
    hold = process_hold(license)

    results = at_once(license, [lambda: settle(license, hold, 150)] * 5)

    charge = min(balance, 150)
    assert set(results) == {(charge, 150 - charge, balance - charge, 100, None)}
    assert money(db, license) == (balance - charge, 0)


@pytest.mark.parametrize("others", [0, 900])
def test_one_release_gives_back_once(db, new_license, client_hold, at_once, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)

    results = at_once(license, [lambda: holds.release(db, license.key, hold.hold_id)] * THREADS)

    assert set(results) == {(100, "released", hold.expires_at)}
    assert money(db, license) == (1000, others)


@pytest.mark.parametrize("first", ["settle", "release"])
@pytest.mark.parametrize("others", [0, 900])
def test_a_settle_and_a_release_cannot_both_win(db, new_license, client_hold, at_once, first, others):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = client_hold(license)
    calls = {
        "settle": lambda: holds.settle(db, license.key, hold.hold_id, 70),
        "release": lambda: holds.release(db, license.key, hold.hold_id),
    }

    results = at_once(license, [calls.pop(first), *calls.values()])

    assert results.count("hold_not_open") == 1
    (won,) = [result for result in results if not isinstance(result, str)]
    assert money(db, license) == (1000 - getattr(won, "charge", 0), others)


@pytest.mark.parametrize("others", [0, 900])
def test_a_settle_that_the_reaper_came_before_charges_late(
    db, new_license, process_id, client_hold, process_hold, settle, at_once, others
):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)

    released, settled = at_once(license, [lambda: holds.release_expired(db), lambda: settle(license, hold, 70)])

    assert (released in (0, 1), settled.charge) == (True, 70)
    assert money(db, license) == (930, others)


def test_the_reaper_leaves_alone_what_was_settled_before_its_turn(
    db, new_license, process_id, process_hold, settle, at_once
):
    license = new_license(credits=1000)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)

    settled, _ = at_once(license, [lambda: settle(license, hold, 70), lambda: holds.release_expired(db)])

    assert settled.charge == 70
    assert money(db, license) == (930, 0)


def test_many_reapers_give_back_each_hold_once(db, new_license, client_hold, sql):
    many = [new_license(credits=1000) for _ in range(5)]
    for license in many * 4:
        client_hold(license)
    sql("UPDATE obol.holds SET expires_at = clock_timestamp()")

    with ThreadPoolExecutor(8) as pool:
        released = sum(pool.map(lambda _: holds.release_expired(db), range(8)))
    while more := holds.release_expired(db):
        released += more

    assert released == 20
    assert [money(db, license) for license in many] == [(1000, 0)] * 5


# Late


def expired(db, process_id, hold):
    processes.heartbeat(db, process_id, 0)
    while holds.release_expired(db):
        pass
    return hold


def test_a_late_settle_charges_once(db, new_license, process_id, process_hold, settle, at_once):
    license = new_license(credits=1000)
    hold = expired(db, process_id, process_hold(license, key="k"))

    results = at_once(license, [lambda: settle(license, hold, 70)] * THREADS)

    assert set(results) == {(70, 0, 930, 100, None)}
    assert money(db, license) == (930, 0)


@pytest.mark.parametrize("late_first", [True, False])
def test_a_late_settle_and_a_retry_cannot_both_have_the_key(
    db, new_license, process_id, process_hold, settle, at_once, late_first
):
    license = new_license(credits=1000)
    hold = expired(db, process_id, process_hold(license, key="k"))
    calls = [lambda: settle(license, hold, 70), lambda: process_hold(license, key="k")]

    results = at_once(license, calls if late_first else calls[::-1])
    late, retry = results if late_first else results[::-1]

    if late == "hold_not_open":
        assert retry.outcome == "opened"
        assert money(db, license) == (1000, 100)
    else:
        assert (late.charge, retry.outcome, bytes(retry.answer)) == (70, "replayed", b"sealed")
        assert money(db, license) == (930, 0)


def test_a_late_settle_and_the_release_of_the_same_hold(db, new_license, process_id, process_hold, settle, at_once):
    license = new_license(credits=1000)
    hold = expired(db, process_id, process_hold(license))

    late, released = at_once(
        license, [lambda: settle(license, hold, 70), lambda: holds.release(db, license.key, hold.hold_id, process_id)]
    )

    assert (late, released.state) == ("hold_not_open", "released")
    assert money(db, license) == (1000, 0)


# What else is done once


def test_one_refund_gives_back_once(db, owner, new_license, at_once):
    license = new_license(credits=1000)
    deduction_id = uuid4()
    credits.deduct(db, license.key, deduction_id, 100, None, b"one", None)

    results = at_once(license, [lambda: credits.refund(owner, license.id, deduction_id, "sorry")] * THREADS)

    assert set(results) == {(100, 1000)}


def test_one_key_of_an_operator_is_one_grant(db, owner, new_license, at_once):
    license = new_license(credits=0)

    results = at_once(license, [lambda: credits.grant(owner, license.id, uuid4(), 100, "k", b"one", None)] * 5)

    assert len(set(results)) == 1
    assert money(db, license) == (100, 0)


def test_one_license_is_made_once(db, owner, sql):
    license_id = uuid4()

    def create(n):
        return licenses.create(owner, LicenseKey(license_id, bytes([n]) * 32), "Ada", None, 100, b"one")

    with ThreadPoolExecutor(5) as pool:
        results = list(pool.map(create, range(5)))

    assert sorted(result.created for result in results) == [False] * 4 + [True]
    assert sql("SELECT count(*), sum(balance) FROM obol.licenses") == [(1, 100)]
    assert sql("SELECT count(*) FROM obol.license_keys") == [(1,)]


def test_of_rotations_at_once_one_key_stays(owner, new_license, at_once, sql):
    license = new_license()

    at_once(
        license,
        [lambda n=n: licenses.rotate_key(owner, LicenseKey(license.id, bytes([n]) * 32), 0) for n in range(1, 6)],
    )

    assert sql("SELECT count(*) FROM obol.license_keys WHERE expires_at IS NULL") == [(1,)]
    assert sql("SELECT count(*) FROM obol.license_keys") == [(6,)]
