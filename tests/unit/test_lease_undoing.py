"""What a beat undoes, notes and forgets, and that what cannot be done now is done with the next one."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from structlog.testing import capture_logs

from service import operator
from service.lease import PURGE_EVERY_S
from service.problems import Problem
from service.repository import holds, licenses, processes
from service.repository.grants import Terms


@pytest.mark.parametrize("lapsed", [False, True])
def test_withheld_and_open_is_released(lease, db, open_hold, new_license, expire_due, state_of, lapsed):
    license, hold_id = new_license(), uuid4()
    lease.beat()
    open_hold(license, hold_id)
    if lapsed:
        processes.heartbeat(db, lease.process_id, 0)
        assert expire_due() == 1
    lease.withhold(license.key, hold_id)

    lease.beat()

    assert state_of(hold_id) == "released"
    assert licenses.find(db, license.key).available == 1000


@pytest.mark.parametrize("key", [None, "k"])
def test_withheld_and_charged_is_refunded_once(lease, db, open_hold, settle, new_license, sql, key):
    license, hold_id = new_license(), lease.new_hold()
    open_hold(license, hold_id, key)
    settle(license, hold_id)
    lease.withhold(license.key, hold_id)

    with capture_logs() as lines:
        lease.beat()
        lease.beat()

    assert licenses.find(db, license.key).balance == 1000
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "answer withheld")]
    assert [line["credits"] for line in lines if line["event"] == "withheld_answer_refunded"] == [40]
    # A retry with the key is a clean new try.
    assert open_hold(license, uuid4(), key).outcome == "opened"


def test_withheld_but_stored_for_a_retry_is_kept(lease, db, open_hold, settle, new_license):
    license, hold_id = new_license(), lease.new_hold()
    open_hold(license, hold_id, "k")
    settle(license, hold_id, b"sealed")
    lease.withhold(license.key, hold_id)

    lease.beat()

    assert licenses.find(db, license.key).balance == 960
    replayed = open_hold(license, uuid4(), "k")
    assert (replayed.outcome, replayed.hold_id, bytes(replayed.answer)) == ("replayed", hold_id, b"sealed")


def test_what_the_client_got_of_a_withheld_answer_is_kept(lease, owner, open_hold, new_license):
    license, hold_id = new_license(), lease.new_hold()
    open_hold(license, hold_id)
    unpaid = holds.Unpaid("answer_withheld", 3, 400, 5)
    lease.withhold(license.key, hold_id, unpaid)

    lease.beat()
    (listed,) = holds.every(owner, "unpaid")
    assert (listed.hold_id, holds.Unpaid(**listed.unpaid)) == (hold_id, unpaid)


def test_withheld_and_never_opened_is_nothing(lease, db, new_license):
    license = new_license()
    lease.withhold(license.key, uuid4())

    lease.beat()
    assert licenses.find(db, license.key).balance == 1000


def test_what_cannot_be_undone_now_is_undone_with_the_next_beat(lease, flaky, open_hold, new_license, state_of):
    license, hold_id = new_license(), lease.new_hold()
    open_hold(license, hold_id)
    lease.withhold(license.key, hold_id)
    flaky.fail("release_hold(")

    with pytest.raises(Problem):
        lease.beat()
    assert state_of(hold_id) == "held"
    lease.beat()
    assert state_of(hold_id) == "released"


def test_a_withheld_answer_that_cannot_be_undone_yet_keeps_no_other_waiting(
    lease, db, open_hold, settle, locked, new_license, sql
):
    stuck, other = new_license(), new_license()
    # Nobody here has the time to wait as long as it does.
    sql("ALTER FUNCTION obol.refund SET lock_timeout = '50ms'")
    for license in (stuck, other):
        hold_id = lease.new_hold()
        open_hold(license, hold_id)
        settle(license, hold_id)
        lease.withhold(license.key, hold_id)
        lease.let_go(hold_id)

    with locked(stuck), pytest.raises(Problem):
        lease.beat()
    assert licenses.find(db, other.key).balance == 1000
    assert licenses.find(db, stuck.key).balance == 960

    lease.beat()
    assert licenses.find(db, stuck.key).balance == 1000


def test_undoing_stops_in_time_for_the_next_beat(lease, clock, new_license, monkeypatch):
    license, undone = new_license(), []

    def slow_undo(item):
        undone.append(item)
        clock.now += 10_000_000

    monkeypatch.setattr(lease, "_undo", slow_undo)
    for _ in range(2):
        lease.withhold(license.key, uuid4())

    lease.beat()
    assert len(undone) == 1
    lease.beat()
    assert len(undone) == 2


def test_deliveries_are_noted_once_and_kept_until_they_are(lease, owner, flaky, open_hold, settle, new_license, sql):
    license, told, untold = new_license(), lease.new_hold(), lease.new_hold()
    for hold_id in (told, untold):
        open_hold(license, hold_id)
        settle(license, hold_id)
    lease.note_delivered(license.id, told)
    flaky.fail("note_deliveries(")

    with pytest.raises(Problem):
        lease.beat()
    assert len(holds.every(owner, "undelivered")) == 2
    lease.beat()
    assert [row.hold_id for row in holds.every(owner, "undelivered")] == [untold]
    (noted,) = sql("SELECT delivered_at FROM obol.holds WHERE delivered_at IS NOT NULL")
    lease.note_delivered(license.id, told)
    lease.beat()
    assert sql("SELECT delivered_at FROM obol.holds WHERE delivered_at IS NOT NULL") == [noted]


def test_the_deliveries_of_each_license_are_noted_for_it_alone(
    lease, owner, open_hold, settle, new_license, monkeypatch
):
    one, other = new_license(), new_license()
    delivered = {license.id: {lease.new_hold() for _ in range(2)} for license in (one, other)}
    for license in (one, other):
        for hold_id in delivered[license.id]:
            open_hold(license, hold_id)
            settle(license, hold_id)
            lease.note_delivered(license.id, hold_id)
    note, told = holds.note_deliveries, []

    def note_and_tell(database, license_id, hold_ids, *, process_id):
        told.append((license_id, set(hold_ids)))
        note(database, license_id, hold_ids, process_id=process_id)

    monkeypatch.setattr(holds, "note_deliveries", note_and_tell)
    lease.beat()
    assert sorted(told) == sorted(delivered.items())
    assert holds.every(owner, "undelivered") == []


def test_old_answers_are_purged_now_and_then(lease, clock, open_hold, settle, new_license, sql):
    license, hold_id = new_license(), lease.new_hold()
    open_hold(license, hold_id, "k")
    settle(license, hold_id, b"sealed")
    lease.beat()
    sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")
    stored = "SELECT answer IS NOT NULL FROM obol.idempotency_keys"

    clock.now += PURGE_EVERY_S - 1
    lease.beat()
    assert sql(stored) == [(True,)]
    clock.now += 1
    lease.beat()
    assert sql(stored) == [(False,)]


def test_a_grant_that_ends_by_itself_has_its_entry_with_the_next_beat(lease, owner, new_license, sql):
    license = new_license(credits=5)
    operator.grant_credits(owner, license.id, 7, terms=Terms(expires_at=datetime.now(UTC) + timedelta(hours=1)))
    sql("UPDATE obol.grants SET starts_at = starts_at - interval '1 day', expires_at = now() WHERE amount = 7")
    sql("UPDATE obol.licenses SET next_change_at = now() - interval '1 second'")

    lease.beat()
    assert sql("SELECT kind, amount FROM obol.ledger_entries WHERE entry_no = 3") == [("expiry", -7)]


def test_deliveries_that_there_was_no_time_to_note_are_noted_with_the_next_beat(
    lease, clock, owner, open_hold, settle, new_license, monkeypatch
):
    clients = [new_license() for _ in range(6)]
    for license in clients:
        hold_id = lease.new_hold()
        open_hold(license, hold_id)
        settle(license, hold_id)
        lease.note_delivered(license.id, hold_id)
        lease.let_go(hold_id)
    note = holds.note_deliveries
    monkeypatch.setattr("service.lease.LICENSES_AT_ONCE", 1)

    def note_slowly(*arguments, **options):
        note(*arguments, **options)
        clock.now += 500

    monkeypatch.setattr(holds, "note_deliveries", note_slowly)
    lease.beat()
    assert len(holds.every(owner, "undelivered")) == 3
    lease.beat()
    assert holds.every(owner, "undelivered") == []
    assert lease._delivered == {}


def test_a_delivery_that_comes_while_others_are_noted_is_noted_too(
    lease, owner, open_hold, settle, new_license, monkeypatch
):
    license = new_license()
    first, second = lease.new_hold(), lease.new_hold()
    for hold_id in (first, second):
        open_hold(license, hold_id)
        settle(license, hold_id)
    lease.note_delivered(license.id, first)
    note = holds.note_deliveries

    def note_and_deliver(*arguments, **options):
        note(*arguments, **options)
        lease.note_delivered(license.id, second)

    monkeypatch.setattr(holds, "note_deliveries", note_and_deliver)
    lease.beat()
    assert [row.hold_id for row in holds.every(owner, "undelivered")] == [second]
    monkeypatch.setattr(holds, "note_deliveries", note)
    lease.beat()
    assert holds.every(owner, "undelivered") == []
