"""Which holds a beat gives back: orphans, those of dead processes and clients', a few licenses at once."""

import threading
from uuid import uuid4

import pytest

from service.lease import LICENSES_AT_ONCE, Lease
from service.problems import Problem
from service.repository import holds, licenses, processes

STATES = "SELECT state, count(*) FROM obol.holds GROUP BY state"


@pytest.fixture
def overdue(db, sql):
    """`overdue(license)`: a hold that a client has opened and whose time has come; its id."""

    def open_and_age(license):
        hold_id = uuid4()
        holds.open_for_client(db, license.key, hold_id, amount=1, expires_in_s=60)
        sql("UPDATE obol.holds SET expires_at = clock_timestamp() WHERE hold_id = %s", (str(hold_id),))
        return hold_id

    return open_and_age


def test_a_live_hold_stays_and_an_orphan_goes_only_with_the_second_beat(lease, open_hold, new_license, state_of):
    license, orphan = new_license(), uuid4()
    live = lease.new_hold()
    open_hold(license, live)
    open_hold(license, orphan)

    lease.beat()
    assert (state_of(live), state_of(orphan)) == ("held", "held")
    lease.beat()
    assert (state_of(live), state_of(orphan)) == ("held", "expired")

    lease.let_go(live)
    lease.beat()
    assert state_of(live) == "expired"


def test_the_holds_of_a_dead_process_come_back(lease, flaky, db, open_hold, new_license, state_of):
    license, hold_id = new_license(), uuid4()
    dead = Lease(flaky, 3600)
    dead.beat()
    open_hold(license, hold_id, process_id=dead.process_id)

    lease.beat()
    lease.beat()
    assert state_of(hold_id) == "held"
    processes.heartbeat(db, dead.process_id, 0)
    lease.beat()
    assert state_of(hold_id) == "expired"


def test_a_client_s_hold_comes_back_when_its_time_has_come(lease, db, new_license, overdue, state_of):
    license, young = new_license(), uuid4()
    holds.open_for_client(db, license.key, young, amount=5, expires_in_s=60)
    due = overdue(license)

    lease.beat()
    assert (state_of(due), state_of(young), licenses.find(db, license.key).held) == ("expired", "held", 5)


def test_more_than_one_batch_comes_back_in_one_beat(lease, db, new_license, sql):
    license = new_license(credits=1100)
    sql(
        "SELECT obol.open_hold(%s, %s, gen_random_uuid(), NULL, 1, 1, 60, NULL, NULL, NULL, NULL, NULL, NULL)"
        " FROM generate_series(1, 1100)",
        (str(license.id), license.key.digest),
    )
    sql("UPDATE obol.holds SET expires_at = clock_timestamp()")
    assert len(holds.due(db)[0].hold_ids) < 1100

    lease.beat()
    assert sql(STATES) == [("expired", 1100)]
    assert licenses.find(db, license.key).held == 0


def test_a_few_licenses_are_seen_to_at_once(lease, new_license, overdue, sql, monkeypatch):
    for _ in range(LICENSES_AT_ONCE):
        overdue(new_license())
    expire, all_there = holds.expire, threading.Barrier(LICENSES_AT_ONCE)

    def expire_with_the_others(*arguments, **options):
        all_there.wait(20)
        return expire(*arguments, **options)

    monkeypatch.setattr(holds, "expire", expire_with_the_others)
    lease.beat()
    assert sql(STATES) == [("expired", LICENSES_AT_ONCE)]


def test_where_the_system_starts_no_thread_a_beat_does_all_of_its_steps_itself(
    lease, open_hold, settle, new_license, overdue, sql, owner, monkeypatch
):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    license, delivered = new_license(), lease.new_hold()
    open_hold(license, delivered)
    settle(license, delivered)
    lease.note_delivered(license.id, delivered)
    for _ in range(2):
        overdue(new_license())
    monkeypatch.setattr(threading.Thread, "start", refuse)
    lease.beat()
    assert sql("SELECT count(*) FROM obol.holds WHERE state = 'expired'") == [(2,)]
    assert holds.every(owner, "undelivered") == []


def test_a_license_that_somebody_has_locked_stops_only_what_needs_it(
    lease, open_hold, settle, new_license, overdue, locked, state_of, sql
):
    stuck, other = new_license(), new_license()
    theirs, ours = overdue(stuck), overdue(other)
    hold_id = lease.new_hold()
    open_hold(other, hold_id)
    settle(other, hold_id)
    lease.let_go(hold_id)
    lease.note_delivered(other.id, hold_id)

    with locked(stuck), pytest.raises(Problem) as failed:
        lease.beat()

    assert (failed.value.code, failed.value.retry_after) == ("database_error", 1)
    assert (state_of(theirs), state_of(ours)) == ("held", "expired")
    assert sql("SELECT count(*) FROM obol.holds WHERE delivered_at IS NOT NULL") == [(1,)]
    lease.beat()
    assert state_of(theirs) == "expired"


def test_giving_back_stops_in_time_for_the_next_beat(lease, clock, new_license, overdue, monkeypatch, sql):
    license, expire, batches = new_license(), holds.expire, []
    overdue(license)

    def expire_slowly(*arguments, **options):
        batches.append(expire(*arguments, **options))
        clock.now += 1200
        # As if thousands were left.
        overdue(license)

    monkeypatch.setattr(holds, "expire", expire_slowly)
    lease.beat()
    assert batches == [1]
    lease.beat()
    assert batches == [1, 1]


def test_what_each_license_keeps_waiting_does_not_let_the_lease_lapse(
    lease, clock, new_license, overdue, monkeypatch, sql
):
    """A thousand licenses that somebody has locked take half a second each."""
    for _ in range(3 * LICENSES_AT_ONCE):
        overdue(new_license())
    expire = holds.expire
    monkeypatch.setattr("service.lease.LICENSES_AT_ONCE", 1)

    def expire_slowly(*arguments, **options):
        expire(*arguments, **options)
        clock.now += 500

    monkeypatch.setattr(holds, "expire", expire_slowly)
    lease.beat()

    # One begins before a third of the lease (3,600 s) is over, and none after it.
    assert sorted(sql(STATES)) == [("expired", 3), ("held", 3 * LICENSES_AT_ONCE - 3)]
    assert lease.is_alive()
    lease.beat()
    assert ("expired", 6) in sql(STATES)
