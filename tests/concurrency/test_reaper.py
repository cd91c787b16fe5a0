"""The reaper against those whose holds it takes, and against others like it."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from random import Random

import pytest
from hold_fixtures import outcome_of

from service.repository import holds, processes

ROUNDS = 20


@pytest.mark.parametrize("others", [0, 900])
def test_a_settle_that_the_reaper_came_before_charges_late(
    db, new_license, process_id, client_hold, process_hold, settle, patient, at_once, state_of, money, others
):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)
    (due,) = holds.due(db)
    patient()

    reaped, settled = at_once(
        license, [lambda: holds.expire(db, due.license_id, due.hold_ids), lambda: settle(license, hold, 70)]
    )

    assert (reaped, settled.charge, state_of(hold)) == (1, 70, "settled")
    assert money(license) == (930, others)


@pytest.mark.parametrize("others", [0, 900])
def test_the_reaper_leaves_alone_what_was_settled_before_its_turn(
    db, new_license, process_id, client_hold, process_hold, settle, patient, at_once, state_of, money, others
):
    license = new_license(credits=1000)
    if others:
        client_hold(license, others)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)
    (due,) = holds.due(db)
    patient()

    settled, reaped = at_once(
        license, [lambda: settle(license, hold, 70), lambda: holds.expire(db, due.license_id, due.hold_ids)]
    )

    assert (settled.charge, reaped, state_of(hold)) == (70, 0, "settled")
    assert money(license) == (930, others)


def test_many_reapers_give_back_each_hold_once(new_license, client_hold, reap, patient, money, sql):
    many = [new_license(credits=1000) for _ in range(5)]
    for license in many * 4:
        client_hold(license)
    sql("UPDATE obol.holds SET expires_at = clock_timestamp()")
    patient()
    barrier = threading.Barrier(8)

    def reap_with_the_others(_):
        barrier.wait()
        return reap()

    with ThreadPoolExecutor(8) as pool:
        reaped = sum(pool.map(reap_with_the_others, range(8)))

    assert (reaped, reap()) == (20, 0)
    assert [money(license) for license in many] == [(1000, 0)] * 5


def test_settlements_against_the_reaper(db, new_license, process_id, process_hold, settle, patient, at_once, money):
    """The reaper begins with the last hold and the settlements with the first, so that each of them is
    the first at some; where they meet, it is a race."""
    license = new_license(credits=100 * ROUNDS)
    opened = [process_hold(license) for _ in range(ROUNDS)]
    processes.heartbeat(db, process_id, 0)
    (due,) = holds.due(db)
    assert set(due.hold_ids) == {hold.hold_id for hold in opened}
    patient()

    def expire(hold):
        return holds.expire(db, license.id, [hold.hold_id])

    first, last = at_once(license, [lambda: settle(license, opened[0], 60), lambda: expire(opened[-1])])
    assert (first.charge, last) == (60, 1)
    with ThreadPoolExecutor(8) as pool:
        reaping = [pool.submit(expire, hold) for hold in reversed(opened[1:-1])]
        settling = [pool.submit(settle, license, hold, 60) for hold in opened]
        taken = last + sum(task.result() for task in reaping)
        charges = [task.result().charge for task in settling]

    # In time or late, each was settled, once.
    assert 0 < taken < ROUNDS
    assert charges == [60] * ROUNDS
    assert money(license) == (40 * ROUNDS, 0)


def test_the_reaper_a_settle_and_a_release_of_every_hold_lose_no_credits(
    db, new_license, process_id, process_hold, settle, patient, money, sql
):
    license = new_license(credits=100 * ROUNDS)
    opened = [process_hold(license, key=f"key {n}") for n in range(ROUNDS)]
    processes.heartbeat(db, process_id, 0)
    patient()
    ends = {
        "settle": lambda hold: settle(license, hold, 60),
        "release": lambda hold: holds.release(db, license.key, hold.hold_id, process_id=process_id),
        "expire": lambda hold: holds.expire(db, license.id, [other.hold_id for other in opened]),
    }
    calls = [(name, hold) for name in ends for hold in opened]
    Random(7).shuffle(calls)

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(lambda call: outcome_of(ends[call[0]], call[1]), calls))

    states = Counter(state for (state,) in sql("SELECT state FROM obol.holds"))
    won = Counter(name for (name, _), result in zip(calls, results, strict=True) if isinstance(result, tuple))
    assert (won["settle"], won["release"]) == (states["settled"], states["released"])
    # What had expired was settled late or released, by the one of the two that came first.
    assert states["settled"] + states["released"] == ROUNDS
    assert {result for result in results if isinstance(result, str)} <= {"hold_not_open"}
    assert money(license) == (100 * ROUNDS - 60 * states["settled"], 0)
