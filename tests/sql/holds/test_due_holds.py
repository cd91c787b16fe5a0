"""obol.due_holds: which holds are to be given back, and which are not."""

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from uuid import uuid4

import pytest

from service.repository import holds, processes


def in_a_minute():
    return datetime.now(UTC) + timedelta(minutes=1)


@pytest.fixture
def due(db):
    """`due(process_id=None, live_holds=(), orphans_before=None)`: the ids of the holds that are due."""

    def read(*arguments, **options):
        return {hold_id for item in holds.due(db, *arguments, **options) for hold_id in item.hold_ids}

    return read


@pytest.fixture
def named(sql):
    """`named(most)`: (license, holds) of at most so many holds, as the database names them."""
    query = "SELECT license_id::text, hold_ids::text[] FROM obol.due_holds(NULL, '{}', NULL, %s)"
    return lambda most: sql(query, (most,))


def test_what_is_in_order_is_not_due_and_nothing_changes(db, new_license, client_hold, process_hold, contents):
    license = new_license()
    client_hold(license)
    process_hold(license)
    before = contents()

    assert holds.due(db) == []
    assert contents() == before


# Of clients


def test_a_client_s_hold_is_due_when_its_time_is_up(new_license, client_hold, overdue, due, contents):
    license = new_license()
    late, early = client_hold(license), client_hold(license)
    overdue(late)
    before = contents()

    assert due() == {late.hold_id}
    assert due(uuid4(), [early.hold_id, late.hold_id], orphans_before=in_a_minute()) == {late.hold_id}
    assert contents() == before


@pytest.mark.parametrize("end", ["settled", "released", "expired"])
def test_what_has_ended_is_not_due(db, new_license, client_hold, overdue, reap, state_of, due, end):
    license = new_license()
    hold = client_hold(license)
    if end == "settled":
        holds.settle(db, license.key, hold.hold_id, amount=1)
    elif end == "released":
        holds.release(db, license.key, hold.hold_id)
    overdue(hold)
    if end == "expired":
        reap()

    assert (state_of(hold), due()) == (end, set())


# Of processes


def test_the_holds_of_a_dead_process_are_due(db, new_license, process_id, process_hold, due):
    hold = process_hold(new_license())
    processes.heartbeat(db, process_id, 0)

    assert due() == {hold.hold_id}
    assert due(uuid4(), [hold.hold_id]) == {hold.hold_id}


def test_so_are_those_of_a_process_that_was_never_heard_of(new_license, process_hold, due, reap, sql):
    hold = process_hold(new_license())
    sql("DELETE FROM obol.processes")

    assert due() == {hold.hold_id}
    assert reap() == 1


def test_a_heartbeat_in_time_keeps_them(db, new_license, process_id, process_hold, due):
    process_hold(new_license())
    processes.heartbeat(db, process_id, 0)
    processes.heartbeat(db, process_id, 30)

    assert due() == set()


def test_the_lease_of_another_process_keeps_nothing(db, new_license, process_id, process_hold, due):
    hold = process_hold(new_license())
    processes.heartbeat(db, process_id, 0)
    processes.heartbeat(db, uuid4(), 30)

    assert due() == {hold.hold_id}


def test_a_process_does_not_take_its_own_lapsed_lease_for_its_death(db, new_license, process_id, process_hold, due):
    hold = process_hold(new_license())
    processes.heartbeat(db, process_id, 0)

    assert due(process_id, [hold.hold_id], orphans_before=in_a_minute()) == set()


def test_what_was_opened_after_the_time_of_the_read_is_not_due(db, new_license, process_id, process_hold, due, sql):
    """Its process may have begun after that time too, and then its lease has not been seen."""
    process_hold(new_license())
    sql("UPDATE obol.holds SET opened_at = clock_timestamp() + interval '1 minute'; DELETE FROM obol.processes")

    assert due() == set()
    assert due(uuid4(), [], orphans_before=in_a_minute()) == set()
    processes.heartbeat(db, process_id, 30)


# Orphans


def test_an_orphan_of_the_calling_process_is_due(new_license, process_id, process_hold, due):
    license = new_license()
    live, orphan = process_hold(license), process_hold(license)

    assert due(process_id, [live.hold_id], orphans_before=in_a_minute()) == {orphan.hold_id}


def test_what_was_opened_since_the_last_beat_is_no_orphan(db, new_license, process_id, process_hold, due):
    before = processes.heartbeat(db, process_id, 30)
    process_hold(new_license())

    assert due(process_id, [], orphans_before=before) == set()
    assert due(process_id, [], orphans_before=None) == set()


def test_the_orphans_of_another_living_process_are_its_own_to_find(new_license, process_hold, due):
    process_hold(new_license())

    assert due(uuid4(), [], orphans_before=in_a_minute()) == set()


# In what order, and how many


def test_they_are_named_by_license_in_ascending_order(db, new_license, client_hold, overdue):
    opened = {}
    for license in [new_license() for _ in range(5)] * 2:
        hold = client_hold(license)
        overdue(hold)
        opened.setdefault(license.id, set()).add(hold.hold_id)

    found = holds.due(db)

    assert [item.license_id for item in found] == sorted(opened)
    assert {item.license_id: set(item.hold_ids) for item in found} == opened
    assert all(len(item.hold_ids) == 2 for item in found)


def test_no_more_than_so_many_are_named(new_license, client_hold, overdue, named):
    """The first ones of that order: what is left over comes with the next read."""
    first, second = sorted((new_license() for _ in range(2)), key=attrgetter("id"))
    opened = {}
    for license in (second, first):
        holds_of_it = [client_hold(license) for _ in range(2)]
        for hold in holds_of_it:
            overdue(hold)
        opened[license.id] = sorted(str(hold.hold_id) for hold in holds_of_it)

    assert named(3) == [(str(first.id), opened[first.id]), (str(second.id), opened[second.id][:1])]
    assert named(2) == [(str(first.id), opened[first.id])]
    assert named(0) == []


def test_the_service_asks_for_a_thousand_at_most(db, new_license, client_hold, sql):
    license = new_license(credits=2000)
    client_hold(license, 1)
    sql("""
        INSERT INTO obol.holds (license_id, hold_id, amount, expires_at, available_after, opened_at)
        SELECT license_id, gen_random_uuid(), 1, clock_timestamp(), 0, opened_at
          FROM obol.holds CROSS JOIN generate_series(1, 1001);
        UPDATE obol.licenses SET held = 1002
    """)

    (item,) = holds.due(db)

    assert len(item.hold_ids) == 1000
