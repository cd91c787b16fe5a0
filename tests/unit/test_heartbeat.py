"""The heartbeat's thread: its pace, that nothing ends it but `stop`, and what it leaves behind."""

import os
import threading

import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service.lease import Lease
from service.problems import Problem
from service.repository import holds

ALIVE = "SELECT process_id::text FROM obol.processes WHERE lease_expires_at > clock_timestamp()"


def heartbeats():
    return [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


class Pauses:
    """In place of the event that ends the thread: each pause takes no time but the clock's, and after a
    while the thread is stopped."""

    def __init__(self, lease, clock, until):
        self.lease, self.clock, self.until = lease, clock, until
        self.lapsed = False

    def wait(self, pause_s):
        self.clock.now += pause_s
        self.lapsed |= not self.lease.is_alive()
        return self.clock.now >= self.until


def test_a_lease_is_renewed_three_times_within_its_time(lease, clock, flaky, monkeypatch):
    """So that two beats may fail before it lapses."""
    rows, renewed_at = flaky.rows, []

    def note(statement, **parameters):
        if "obol.heartbeat(" in str(statement):
            renewed_at.append(clock.now)
        return rows(statement, **parameters)

    monkeypatch.setattr(flaky, "rows", note)
    lease._stop = Pauses(lease, clock, until=1000 + 10 * 3600)
    lease._run()

    assert not lease._stop.lapsed
    for begin in range(10):
        of_this_lease = [at for at in renewed_at if 1000 + begin * 3600 <= at < 1000 + (begin + 1) * 3600]
        assert len(of_this_lease) == 3


def test_two_beats_in_a_row_may_fail(lease, clock, flaky):
    lease.beat()
    flaky.fail("obol.heartbeat(", times=2)
    lease._stop = Pauses(lease, clock, until=1000 + 3600 - 1)
    with capture_logs() as lines:
        lease._run()

    assert [line["event"] for line in lines] == ["heartbeat_failed"] * 2
    assert not lease._stop.lapsed


def test_the_thread_beats_until_it_is_stopped(flaky, sql):
    lease = Lease(flaky, 1)
    lease.start()
    lease.start()
    assert len(heartbeats()) == 1
    wait_until(lambda: sql("SELECT 1 FROM obol.processes WHERE lease_expires_at > started_at + interval '1.5 s'"))

    lease.stop()

    assert heartbeats() == []
    assert sql(ALIVE) == []


def test_a_thread_that_the_system_does_not_start_is_started_by_the_next_call(flaky, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    lease = Lease(flaky, 3600)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            lease.new_hold()
    lease.stop()
    assert heartbeats() == []

    lease.new_hold()
    assert len(heartbeats()) == 1
    lease.stop()


@pytest.mark.parametrize("error", [Problem("database_error", "down"), RuntimeError("unexpected")], ids=str)
def test_a_database_that_fails_does_not_end_the_thread(flaky, error):
    lease = Lease(flaky, 1)
    flaky.fail("", error, times=flaky.ALWAYS)
    with capture_logs() as lines:
        lease.start()
        wait_until(lambda: [line for line in lines if line["event"] == "heartbeat_failed"])
        assert not lease.is_alive()
        flaky.recover()
        wait_until(lease.is_alive)
    lease.stop()


def test_stopping_gives_everything_back_and_tells_what_is_left(flaky, owner, open_hold, settle, new_license, state_of):
    license = new_license()
    lease = Lease(flaky, 3600)
    left_open, delivered = lease.new_hold(), lease.new_hold()
    for hold_id in (left_open, delivered):
        open_hold(license, hold_id, process_id=lease.process_id)
    settle(license, delivered, process_id=lease.process_id)
    lease.note_delivered(license.id, delivered)

    lease.stop()

    assert state_of(left_open) == "expired"
    assert holds.every(owner, "undelivered") == []


def test_stopping_without_a_database_only_says_so(flaky):
    lease = Lease(flaky, 1)
    lease.start()
    wait_until(lease.is_alive)
    flaky.fail("", times=flaky.ALWAYS)

    with capture_logs() as lines:
        lease.stop()
    assert "lease_not_ended" in [line["event"] for line in lines]


def test_stopping_what_never_started_does_nothing(flaky, sql):
    Lease(flaky, 1).stop()
    assert sql("SELECT 1 FROM obol.processes") == []


def test_a_forked_process_gets_an_identity_of_its_own(flaky, monkeypatch, sql):
    lease = Lease(flaky, 3600)
    lease.new_hold()
    wait_until(lambda: sql(ALIVE))
    parent, parent_thread, stop_parent = lease.process_id, lease._thread, lease._stop
    pid = os.getpid()

    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    lease.stop()
    assert sql(ALIVE) == [(str(parent),)]
    lease.new_hold()

    assert lease.process_id != parent
    assert lease._thread is not parent_thread
    assert len(lease._live) == 1
    lease.stop()
    assert parent_thread.is_alive()
    stop_parent.set()
    assert sql(ALIVE) == [(str(parent),)]
