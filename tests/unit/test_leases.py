"""The heartbeat: what it renews, gives back, notes and undoes, and that nothing ends it."""

import os
import threading
from uuid import uuid4

import pytest
from factories import wait_until
from structlog.testing import capture_logs

from service.config import load
from service.db import Database
from service.leases import BEATS_PER_LEASE, PURGE_EVERY_S, Leases
from service.problems import Problem
from service.repository import holds, licenses, processes

PRICE = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 1_000_000)
USAGE = {"input": 30, "output": 10}


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Flaky(Database):
    """A database that fails while `broken` is an error, for statements that name `function`."""

    broken = None
    function = ""

    def rows(self, statement, **parameters):
        if self.broken is not None and self.function in str(statement):
            raise self.broken
        return super().rows(statement, **parameters)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def flaky(urls):
    database = Flaky(urls.service, pool_size=2, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def leases(flaky, clock):
    """A lease of an hour whose heart beats only when the test says so: `leases.beat()`."""
    leases = Leases(flaky, 3600, clock)
    leases.start = lambda: None
    return leases


def open_hold(db, leases, license, hold_id, idempotency_key=None, amount=100):
    size = holds.HoldSize(amount, amount)
    return holds.open_for_process(
        db, license.key, hold_id, leases.process_id, size, "m", PRICE, idempotency_key, b"fingerprint"
    )


def settle(db, leases, license, hold_id, answer=None):
    return holds.settle(db, license.key, hold_id, 40, leases.process_id, USAGE, answer, 3600)


@pytest.fixture
def state_of(sql):
    def state(hold_id):
        return sql("SELECT state FROM obol.holds WHERE hold_id = %s", (str(hold_id),))[0][0]

    return state


def test_there_is_no_lease_before_the_first_beat(leases, clock):
    assert not leases.alive()
    leases.beat()
    assert leases.alive()


def test_a_lease_lives_for_its_time_by_this_process_s_clock(leases, clock):
    leases.beat()
    clock.now += 3599
    assert leases.alive()
    clock.now += 1
    assert not leases.alive()


def test_a_beat_that_fails_renews_nothing(leases, clock, flaky):
    leases.beat()
    clock.now += 3600
    flaky.broken = Problem("database_error", "down")

    with pytest.raises(Problem):
        leases.beat()
    assert not leases.alive()


def test_time_that_a_beat_itself_took_is_not_part_of_the_lease(leases, clock, flaky, monkeypatch):
    rows = flaky.rows

    def slow(statement, **parameters):
        clock.now += 3600
        return rows(statement, **parameters)

    monkeypatch.setattr(flaky, "rows", slow)
    leases.beat()
    assert not leases.alive()


def test_a_beat_renews_the_lease_in_the_database(leases, sql):
    lease = (
        "SELECT lease_expires_at > clock_timestamp() + interval '59 minutes' FROM obol.processes WHERE process_id = %s"
    )
    leases.beat()
    assert sql(lease, (str(leases.process_id),)) == [(True,)]
    sql("UPDATE obol.processes SET lease_expires_at = clock_timestamp()")
    leases.beat()
    assert sql(lease, (str(leases.process_id),)) == [(True,)]


def test_a_new_hold_needs_a_lease(leases, flaky):
    flaky.broken = Problem("database_error", "down")
    with pytest.raises(Problem):
        leases.new_hold()
    flaky.broken = None

    leases.new_hold()
    assert leases.alive()


def test_a_live_hold_stays_and_an_orphan_goes_only_with_the_second_beat(leases, db, new_license, state_of):
    license, orphan = new_license(), uuid4()
    live = leases.new_hold()
    open_hold(db, leases, license, live)
    open_hold(db, leases, license, orphan)

    leases.beat()
    assert (state_of(live), state_of(orphan)) == ("held", "held")
    leases.beat()
    assert (state_of(live), state_of(orphan)) == ("held", "expired")

    leases.ended(live)
    leases.beat()
    assert state_of(live) == "expired"


def test_the_holds_of_a_dead_process_come_back(leases, flaky, db, new_license, state_of):
    license, hold_id = new_license(), uuid4()
    dead = Leases(flaky, 3600)
    dead.beat()
    open_hold(db, dead, license, hold_id)

    leases.beat()
    leases.beat()
    assert state_of(hold_id) == "held"
    processes.heartbeat(db, dead.process_id, 0)
    leases.beat()
    assert state_of(hold_id) == "expired"


def test_more_than_one_batch_comes_back_in_one_beat(leases, db, new_license, sql):
    license = new_license(credits=1000)
    for _ in range(150):
        open_hold(db, leases, license, uuid4(), amount=1)
    leases.beat()
    leases.beat()
    assert sql("SELECT state, count(*) FROM obol.holds GROUP BY state") == [("expired", 150)]


@pytest.mark.parametrize("lapsed", [False, True])
def test_withheld_and_open_is_released(leases, db, new_license, state_of, lapsed):
    license, hold_id = new_license(), uuid4()
    leases.beat()
    open_hold(db, leases, license, hold_id)
    if lapsed:
        processes.heartbeat(db, leases.process_id, 0)
        assert holds.release_expired(db) == 1
    leases.withhold(license.key, hold_id)

    leases.beat()

    assert state_of(hold_id) == "released"
    assert licenses.find(db, license.key).available == 1000


@pytest.mark.parametrize(("key", "answer"), [(None, None), ("k", None)])
def test_withheld_and_charged_is_refunded_once(leases, db, new_license, sql, key, answer):
    license, hold_id = new_license(), leases.new_hold()
    open_hold(db, leases, license, hold_id, key)
    settle(db, leases, license, hold_id, answer)
    leases.withhold(license.key, hold_id)

    with capture_logs() as lines:
        leases.beat()
        leases.beat()

    assert licenses.find(db, license.key).balance == 1000
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "answer withheld")]
    assert [line["credits"] for line in lines if line["event"] == "withheld_answer_refunded"] == [40]
    # A retry with the key is a clean new try.
    assert open_hold(db, leases, license, uuid4(), key).outcome == "opened"


def test_withheld_but_stored_for_a_retry_is_kept(leases, db, new_license):
    license, hold_id = new_license(), leases.new_hold()
    open_hold(db, leases, license, hold_id, "k")
    settle(db, leases, license, hold_id, b"sealed")
    leases.withhold(license.key, hold_id)

    leases.beat()

    assert licenses.find(db, license.key).balance == 960
    replayed = open_hold(db, leases, license, uuid4(), "k")
    assert (replayed.outcome, replayed.hold_id, bytes(replayed.answer)) == ("replayed", hold_id, b"sealed")


def test_withheld_and_never_opened_is_nothing(leases, db, new_license):
    license = new_license()
    leases.withhold(license.key, uuid4())

    leases.beat()
    assert licenses.find(db, license.key).balance == 1000


def test_what_cannot_be_undone_now_is_undone_with_the_next_beat(leases, db, flaky, new_license, state_of):
    license, hold_id = new_license(), leases.new_hold()
    open_hold(db, leases, license, hold_id)
    leases.withhold(license.key, hold_id)
    flaky.broken, flaky.function = Problem("database_error", "down"), "release_hold("

    with pytest.raises(Problem):
        leases.beat()
    assert state_of(hold_id) == "held"
    flaky.broken = None
    leases.beat()
    assert state_of(hold_id) == "released"


def test_deliveries_are_noted_once_and_kept_until_they_are(leases, db, flaky, new_license, sql):
    license, told, untold = new_license(), leases.new_hold(), leases.new_hold()
    for hold_id in (told, untold):
        open_hold(db, leases, license, hold_id)
        settle(db, leases, license, hold_id)
    leases.delivered(license.id, told)
    flaky.broken, flaky.function = Problem("database_error", "down"), "note_deliveries("

    with pytest.raises(Problem):
        leases.beat()
    assert len(holds.undelivered(db)) == 2
    flaky.broken = None
    leases.beat()
    assert [row.hold_id for row in holds.undelivered(db)] == [untold]
    (noted,) = sql("SELECT delivered_at FROM obol.holds WHERE delivered_at IS NOT NULL")
    leases.delivered(license.id, told)
    leases.beat()
    assert sql("SELECT delivered_at FROM obol.holds WHERE delivered_at IS NOT NULL") == [noted]


def test_old_answers_are_purged_now_and_then(leases, clock, db, new_license, sql):
    license, hold_id = new_license(), leases.new_hold()
    open_hold(db, leases, license, hold_id, "k")
    settle(db, leases, license, hold_id, b"sealed")
    leases.beat()
    sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")
    stored = "SELECT answer IS NOT NULL FROM obol.idempotency_keys"

    clock.now += PURGE_EVERY_S - 1
    leases.beat()
    assert sql(stored) == [(True,)]
    clock.now += 1
    leases.beat()
    assert sql(stored) == [(False,)]


def test_the_thread_beats_until_it_is_stopped(flaky, sql):
    leases, threads = Leases(flaky, 1), threading.active_count()
    leases.start()
    leases.start()
    assert threading.active_count() == threads + 1
    wait_until(lambda: sql("SELECT 1 FROM obol.processes WHERE lease_expires_at > started_at + interval '1.5 s'"))

    leases.stop()

    assert threading.active_count() == threads
    assert sql("SELECT 1 FROM obol.processes WHERE lease_expires_at > clock_timestamp()") == []


@pytest.mark.parametrize("error", [Problem("database_error", "down"), RuntimeError("unexpected")], ids=str)
def test_a_database_that_fails_does_not_end_the_thread(flaky, sql, error):
    leases = Leases(flaky, 1)
    flaky.broken = error
    with capture_logs() as lines:
        leases.start()
        wait_until(lambda: [line for line in lines if line["event"] == "heartbeat_failed"])
        assert not leases.alive()
        flaky.broken = None
        wait_until(leases.alive)
    leases.stop()


def test_stopping_gives_everything_back_and_tells_what_is_left(flaky, db, new_license, state_of):
    license = new_license()
    leases = Leases(flaky, 3600)
    open_one, delivered = leases.new_hold(), leases.new_hold()
    open_hold(db, leases, license, open_one)
    open_hold(db, leases, license, delivered)
    settle(db, leases, license, delivered)
    leases.delivered(license.id, delivered)

    leases.stop()

    assert state_of(open_one) == "expired"
    assert holds.undelivered(db) == []


def test_stopping_without_a_database_only_says_so(flaky):
    leases = Leases(flaky, 1)
    leases.start()
    wait_until(leases.alive)
    flaky.broken = Problem("database_error", "down")

    with capture_logs() as lines:
        leases.stop()
    assert "lease_not_ended" in [line["event"] for line in lines]


def test_stopping_what_never_started_does_nothing(flaky, sql):
    Leases(flaky, 1).stop()
    assert sql("SELECT 1 FROM obol.processes") == []


def test_a_forked_process_gets_an_identity_of_its_own(flaky, monkeypatch, sql):
    leases = Leases(flaky, 3600)
    leases.new_hold()
    wait_until(lambda: sql("SELECT 1 FROM obol.processes"))
    parent, parent_thread, stop_parent = leases.process_id, leases._thread, leases._stop
    pid = os.getpid()

    monkeypatch.setattr(os, "getpid", lambda: pid + 1)
    leases.stop()
    assert sql("SELECT 1 FROM obol.processes WHERE lease_expires_at > clock_timestamp()") == [(1,)]
    leases.new_hold()

    assert leases.process_id != parent
    assert leases._thread is not parent_thread
    assert len(leases._live) == 1
    leases.stop()
    assert parent_thread.is_alive()
    stop_parent.set()
    assert sql("SELECT process_id::text FROM obol.processes WHERE lease_expires_at > clock_timestamp()") == [
        (str(parent),)
    ]


def test_nobody_waits_for_good_for_a_beat_that_hangs(leases, monkeypatch):
    monkeypatch.setattr("service.leases.TURN_WAIT_S", 0.05)
    with leases._beating, pytest.raises(Problem) as refused:
        leases.new_hold()

    assert refused.value.code == "over_capacity"


def test_one_row_that_somebody_has_locked_stops_only_what_needs_it(leases, db, owner_connection, new_license, sql):
    stuck, other = new_license(), new_license()
    holds.open_for_client(db, stuck.key, uuid4(), 1, 60, None, b"payload", None)
    sql("UPDATE obol.holds SET expires_at = clock_timestamp()")
    hold_id = leases.new_hold()
    open_hold(db, leases, other, hold_id)
    settle(db, leases, other, hold_id)
    leases.ended(hold_id)
    leases.delivered(other.id, hold_id)
    owner_connection.autocommit = False
    with owner_connection.cursor() as cursor:
        cursor.execute("SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(stuck.id),))
        with pytest.raises(Problem):
            leases.beat()
    owner_connection.rollback()

    assert sql("SELECT count(*) FROM obol.holds WHERE delivered_at IS NOT NULL") == [(1,)]


def test_a_dead_process_s_holds_are_back_within_a_minute_by_default():
    lease_s = load({}).lease_s

    assert lease_s * (1 + 1 / BEATS_PER_LEASE) < 60


def test_a_withheld_answer_that_cannot_be_undone_yet_keeps_no_other_waiting(
    leases, db, owner_connection, new_license, sql
):
    stuck, other = new_license(credits=100), new_license(credits=100)
    for license in (stuck, other):
        hold_id = leases.new_hold()
        open_hold(db, leases, license, hold_id)
        settle(db, leases, license, hold_id)
        leases.withhold(license.key, hold_id)
        leases.ended(hold_id)
    owner_connection.autocommit = False
    with owner_connection.cursor() as cursor:
        cursor.execute("SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(stuck.id),))
        with pytest.raises(Problem):
            leases.beat()
    owner_connection.rollback()
    assert licenses.find(db, other.key).balance == 100

    leases.beat()
    assert licenses.find(db, stuck.key).balance == 100


def test_undoing_stops_in_time_for_the_next_beat(leases, clock, new_license, monkeypatch):
    license, undone = new_license(), []

    def slow_undo(item):
        undone.append(item)
        clock.now += 10_000_000

    monkeypatch.setattr(leases, "_undo", slow_undo)
    for _ in range(2):
        leases.withhold(license.key, uuid4())

    leases.beat()
    assert len(undone) == 1
    leases.beat()
    assert len(undone) == 2
