"""obol.release_expired_holds: whose holds come back, in what batches, and whose stay."""

from datetime import UTC, datetime, timedelta
from operator import attrgetter
from uuid import uuid4

import psycopg2
import pytest

from service.repository import holds, licenses, processes


def in_a_minute():
    return datetime.now(UTC) + timedelta(minutes=1)


def test_nothing_to_do_is_nothing_done(db, new_license, client_hold, process_hold, contents):
    license = new_license()
    client_hold(license)
    process_hold(license)
    before = contents()

    assert holds.release_expired(db) == 0
    assert contents() == before


def test_a_client_s_hold_comes_back_when_its_time_is_up(db, new_license, client_hold, overdue, state_of, sql):
    license = new_license(credits=1000)
    late, early = client_hold(license, 300), client_hold(license, 50)
    overdue(late)

    assert holds.release_expired(db) == 1
    assert holds.release_expired(db) == 0
    assert (state_of(late), state_of(early)) == ("expired", "held")
    assert licenses.find(db, license.key).held == 50
    assert sql("SELECT kind FROM obol.ledger_entries") == [("grant",)]


def test_the_holds_of_a_dead_process_come_back(db, new_license, process_id, process_hold, state_of):
    license = new_license()
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)

    assert holds.release_expired(db, uuid4()) == 1
    assert (state_of(hold), licenses.find(db, license.key).held) == ("expired", 0)


def test_the_holds_of_a_process_that_was_never_heard_of_come_back(db, new_license, process_hold, sql):
    process_hold(new_license())
    sql("DELETE FROM obol.processes")

    assert holds.release_expired(db) == 1


def test_a_heartbeat_in_time_keeps_them(db, new_license, process_id, process_hold, state_of):
    hold = process_hold(new_license())
    processes.heartbeat(db, process_id, 0)
    processes.heartbeat(db, process_id, 30)

    assert (holds.release_expired(db), state_of(hold)) == (0, "held")


def test_a_process_does_not_take_its_own_lapsed_lease_for_its_death(db, new_license, process_id, process_hold):
    hold = process_hold(new_license())
    processes.heartbeat(db, process_id, 0)

    assert holds.release_expired(db, process_id, [hold.hold_id], in_a_minute()) == 0


def test_an_orphan_of_the_calling_process_comes_back(db, new_license, process_id, process_hold, state_of):
    license = new_license(credits=1000)
    live, orphan = process_hold(license, 1), process_hold(license, 2)

    assert holds.release_expired(db, process_id, [live.hold_id], in_a_minute()) == 1
    assert (state_of(live), state_of(orphan)) == ("held", "expired")


def test_what_was_opened_since_the_last_beat_is_no_orphan(db, new_license, process_id, process_hold):
    before = datetime.now(UTC) - timedelta(minutes=1)
    process_hold(new_license())

    assert holds.release_expired(db, process_id, [], before) == 0
    assert holds.release_expired(db, process_id, [], None) == 0


def test_the_orphans_of_another_living_process_are_its_own_to_find(db, new_license, process_hold):
    process_hold(new_license())

    assert holds.release_expired(db, uuid4(), [], in_a_minute()) == 0


def test_a_generation_s_key_is_freed_and_a_client_s_is_not(
    db, new_license, client_hold, process_hold, overdue, lapse, sql
):
    license = new_license()
    overdue(client_hold(license, key="client"))
    process_hold(license, key="process")
    lapse()

    assert sql("SELECT idempotency_key, in_force FROM obol.idempotency_keys ORDER BY 1") == [
        ("client", True),
        ("process", False),
    ]


@pytest.mark.parametrize("end", ["settled", "released"])
def test_what_has_ended_stays_ended(db, new_license, client_hold, overdue, state_of, end):
    license = new_license()
    hold = client_hold(license)
    if end == "settled":
        holds.settle(db, license.key, hold.hold_id, 1)
    else:
        holds.release(db, license.key, hold.hold_id)
    overdue(hold)

    assert (holds.release_expired(db), state_of(hold)) == (0, end)


def test_batches_over_several_licenses(db, new_license, client_hold, overdue, sql, verified):
    for _ in range(3):
        license = new_license()
        for _ in range(2):
            overdue(client_hold(license))

    batches = [sql("SELECT obol.release_expired_holds(4)")[0][0] for _ in range(3)]

    assert batches == [4, 2, 0]
    assert sql("SELECT sum(held) FROM obol.licenses") == [(0,)]
    verified()


def test_a_suspended_license_gets_its_credits_back_too(db, owner, new_license, client_hold, overdue):
    license = new_license()
    overdue(client_hold(license))
    licenses.set_status(owner, license.id, "suspended")

    assert holds.release_expired(db) == 1
    assert licenses.find(db, license.key).held == 0


def test_a_busy_license_with_a_batch_of_its_own_keeps_nobody_else_waiting(db, new_license, client_hold, sql, urls):
    first, second = sorted((new_license(), new_license()), key=attrgetter("id"))
    for license, count in ((first, 101), (second, 1)):
        for _ in range(count):
            client_hold(license, 1)
    sql("UPDATE obol.holds SET expires_at = clock_timestamp()")
    busy = psycopg2.connect(urls.owner)
    with busy, busy.cursor() as cursor:
        cursor.execute("SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(first.id),))

        assert holds.release_expired(db) == 1
        assert sql("SELECT held FROM obol.licenses WHERE license_id = %s", (str(second.id),)) == [(0,)]
    busy.close()
    assert (holds.release_expired(db), holds.release_expired(db), holds.release_expired(db)) == (100, 1, 0)
