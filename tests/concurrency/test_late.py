"""A settle that comes late, after its hold has expired, racing what may have come in its place."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hold_fixtures import outcome_of

from service.repository import holds, processes

THREADS = 20
ROUNDS = 20


def test_a_late_settle_charges_once(new_license, process_hold, lapse, settle, at_once, money):
    license = new_license(credits=1000)
    hold = process_hold(license, key="k")
    lapse()

    results = at_once(license, [lambda: settle(license, hold, 70)] * THREADS)

    assert set(results) == {(70, 0, 930, 100, None)}
    assert money(license) == (930, 0)


@pytest.mark.parametrize("late_first", [True, False])
def test_a_late_settle_and_a_retry_cannot_both_have_the_key(
    new_license, process_hold, lapse, settle, at_once, money, late_first
):
    license = new_license(credits=1000)
    hold = process_hold(license, key="k")
    lapse()
    calls = [lambda: settle(license, hold, 70, answer=b"sealed"), lambda: process_hold(license, key="k")]

    results = at_once(license, calls if late_first else calls[::-1])
    late, retry = results if late_first else results[::-1]

    # Who came first has the key.
    if late_first:
        assert (late.charge, retry.outcome, bytes(retry.answer)) == (70, "replayed", b"sealed")
        assert money(license) == (930, 0)
    else:
        assert (late, retry.outcome) == ("hold_not_open", "opened")
        assert money(license) == (1000, 100)


def test_a_late_settle_and_the_release_of_the_same_hold(
    db, new_license, process_id, process_hold, lapse, settle, at_once, money
):
    license = new_license(credits=1000)
    hold = process_hold(license)
    lapse()

    late, released = at_once(
        license,
        [
            lambda: settle(license, hold, 70),
            # It waits for nobody: what is expired is held by no license.
            lambda: holds.release(db, license.key, hold.hold_id, process_id=process_id),
        ],
    )

    assert (late, released.state) == ("hold_not_open", "released")
    assert money(license) == (1000, 0)


def test_a_late_settle_against_the_release_that_makes_it_final(
    db, new_license, process_id, process_hold, reap, settle, money
):
    license = new_license(credits=100 * ROUNDS)
    charged = 0
    with ThreadPoolExecutor(2) as pool:
        for _ in range(ROUNDS):
            processes.heartbeat(db, process_id, 60)
            hold = process_hold(license)
            processes.heartbeat(db, process_id, 0)
            assert reap() == 1

            settled = pool.submit(outcome_of, settle, license, hold, 60)
            released = pool.submit(outcome_of, holds.release, db, license.key, hold.hold_id, process_id=process_id)
            pair = (settled.result() != "hold_not_open", released.result() != "hold_not_open")
            assert pair in [(True, False), (False, True)]
            charged += 60 * pair[0]

    assert money(license) == (100 * ROUNDS - charged, 0)
