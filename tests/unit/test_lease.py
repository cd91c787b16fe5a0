"""The lease of a process: what renews it, how long it lives, and that its beats cannot pile up."""

import pytest
from structlog.testing import capture_logs

from service import migrations
from service.config import load
from service.lease import BEATS_PER_LEASE
from service.problems import Problem
from service.repository import processes

LEASE_S = 3600


def test_there_is_no_lease_before_the_first_beat(lease):
    assert not lease.is_alive()
    lease.beat()
    assert lease.is_alive()


def test_a_lease_lives_for_its_time_by_this_process_s_clock(lease, clock):
    lease.beat()
    clock.now += LEASE_S - 1
    assert lease.is_alive()
    clock.now += 1
    assert not lease.is_alive()


def test_a_beat_that_fails_renews_nothing(lease, clock, flaky):
    lease.beat()
    clock.now += LEASE_S
    flaky.fail()

    with pytest.raises(Problem):
        lease.beat()
    assert not lease.is_alive()


def test_a_lease_is_counted_from_before_the_question_and_not_from_the_reply(lease, clock, flaky, monkeypatch):
    """The database may have counted from any moment between the two."""
    rows, asked = flaky.rows, []

    def slow(statement, **parameters):
        if "obol.heartbeat(" in str(statement):
            asked.append(clock.now)
            clock.now += 10
        return rows(statement, **parameters)

    monkeypatch.setattr(flaky, "rows", slow)
    lease.beat()

    # Once: the beat did not take so long that it renewed the lease again.
    assert asked == [1000]
    clock.now = 1000 + LEASE_S - 1
    assert lease.is_alive()
    clock.now = 1000 + LEASE_S
    assert not lease.is_alive()


def test_a_beat_renews_the_lease_in_the_database(lease, sql):
    renewed = (
        "SELECT lease_expires_at > clock_timestamp() + interval '59 minutes' FROM obol.processes WHERE process_id = %s"
    )
    lease.beat()
    assert sql(renewed, (str(lease.process_id),)) == [(True,)]
    sql("UPDATE obol.processes SET lease_expires_at = clock_timestamp()")
    lease.beat()
    assert sql(renewed, (str(lease.process_id),)) == [(True,)]


def test_the_work_of_a_beat_does_not_let_the_lease_lapse(lease, clock, monkeypatch):
    def purge_for_long():
        clock.now += LEASE_S / 2

    # Every step of the beat takes long; the lease is renewed between them.
    for step in ("_expire_due", "_note_delivered", "_undo_withheld", "_change_grants", "_purge", "_roll_up"):
        monkeypatch.setattr(lease, step, lambda *due: purge_for_long())
    lease.beat()

    assert clock.now == 1000 + 3 * LEASE_S
    assert lease.is_alive()


def test_a_new_hold_needs_a_lease(lease, flaky):
    flaky.fail()
    with pytest.raises(Problem):
        lease.new_hold()
    assert lease._live == {}

    lease.new_hold()
    assert lease.is_alive()


def test_a_new_hold_renews_a_lease_that_has_lapsed_and_no_other(lease, clock, flaky):
    lease.new_hold()
    flaky.fail("obol.heartbeat(")
    lease.new_hold()
    assert flaky.failures == 1

    clock.now += LEASE_S
    with pytest.raises(Problem):
        lease.new_hold()
    lease.new_hold()
    assert lease.is_alive()


def test_nobody_waits_for_good_for_a_beat_that_hangs(lease, monkeypatch):
    monkeypatch.setattr("service.lease.TURN_WAIT_S", 0.05)
    with lease._beating, pytest.raises(Problem) as refused:
        lease.new_hold()

    assert refused.value.code == "over_capacity"


def test_a_dead_process_s_holds_are_back_within_a_minute_by_default():
    lease_s = load({}).lease_s

    assert lease_s * (1 + 1 / BEATS_PER_LEASE) < 60


# the revision of the database


def at_revision(sql, revision):
    sql("UPDATE obol.alembic_version SET version_num = %s", (revision,))


@pytest.mark.parametrize("revision", ["0000", "9999"])
def test_no_hold_is_opened_in_a_database_of_another_revision(lease, sql, revision):
    at_revision(sql, revision)

    with capture_logs() as lines, pytest.raises(Problem) as refused:
        lease.new_hold()
    assert (refused.value.code, refused.value.retry_after) == ("over_capacity", LEASE_S / BEATS_PER_LEASE)
    assert f"at migration {revision}" in refused.value.detail
    assert lease._live == {}
    (line,) = lines
    assert (line["event"], line["database"], line["release"]) == ("wrong_revision", revision, migrations.head())


def test_a_downgrade_is_noticed_with_the_next_heartbeat_and_so_is_its_end(lease, sql):
    lease.new_hold()
    at_revision(sql, "0000")
    lease.beat()
    # It lives, and what it has in hand is settled if the database can.
    assert lease.is_alive()
    with pytest.raises(Problem):
        lease.new_hold()

    at_revision(sql, migrations.head())
    lease.beat()
    lease.new_hold()
    assert len(lease._live) == 2


def test_nobody_finds_the_lease_alive_before_the_revision_is_known(lease, monkeypatch):
    """Fifty calls may come while the first one renews."""
    revision, seen = processes.revision, []

    def look(database):
        seen.append(lease.is_alive())
        return revision(database)

    monkeypatch.setattr(processes, "revision", look)
    lease.new_hold()
    assert seen == [False]
