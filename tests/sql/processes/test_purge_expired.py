"""obol.purge_expired: answers after their time to live, keys after 30 days, leases after a day."""

from uuid import uuid4

import pytest

from service.repository import processes

KEYS = "SELECT idempotency_key, answer IS NOT NULL FROM obol.idempotency_keys ORDER BY 1"


@pytest.fixture
def age(sql):
    """`age(interval)`: every key was claimed this much earlier."""
    return lambda interval: sql(f"UPDATE obol.idempotency_keys SET claimed_at = claimed_at - interval '{interval}'")


def test_what_is_young_stays(db, new_license, process_hold, settle, contents):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1, answer=b"sealed")
    before = contents()

    assert processes.purge(db) == 0
    assert contents() == before


def test_an_answer_goes_at_the_end_of_its_time_and_its_key_stays(db, new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license, key="old"), 1, answer=b"sealed", answer_ttl_s=0)
    settle(license, process_hold(license, key="young"), 1, answer=b"sealed")

    assert processes.purge(db) == 1
    assert processes.purge(db) == 0
    assert sql(KEYS) == [("old", False), ("young", True)]


def test_a_key_goes_after_thirty_days(db, new_license, process_hold, settle, deduct, grant, age, sql):
    license = new_license()
    settle(license, process_hold(license, key="answered"), 1, answer=b"sealed")
    deduct(license, key="deduction")
    grant(license, key="grant")
    age("29 days 23 hours")
    assert processes.purge(db) == 0

    age("2 hours")

    assert processes.purge(db) == 3
    assert sql(KEYS) == []


def test_a_forgotten_key_is_a_new_one(db, new_license, deduct, age):
    license = new_license(credits=100)
    deduct(license, key="k")
    age("31 days")
    processes.purge(db)

    assert deduct(license, key="k", fingerprint=b"another").balance == 98


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_the_key_of_an_open_hold_stays_however_old(request, db, new_license, age, sql, kind):
    request.getfixturevalue(kind)(new_license(), key="k")
    age("31 days")

    assert processes.purge(db) == 0
    assert sql(KEYS) == [("k", False)]


def test_entries_and_holds_stay(db, new_license, process_hold, settle, age, sql):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1)
    age("31 days")

    assert processes.purge(db) == 1
    assert sql("SELECT (SELECT count(*) FROM obol.holds), (SELECT count(*) FROM obol.ledger_entries)") == [(1, 2)]


def test_a_lease_goes_a_day_after_it_lapsed(db, sql):
    gone, lapsed, alive = uuid4(), uuid4(), uuid4()
    for process_id in (gone, lapsed, alive):
        processes.heartbeat(db, process_id, 30)
    for process_id, ago in ((gone, "25 hours"), (lapsed, "23 hours")):
        sql(
            f"UPDATE obol.processes SET lease_expires_at = clock_timestamp() - interval '{ago}' WHERE process_id = %s",
            (str(process_id),),
        )

    assert processes.purge(db) == 0
    assert {row[0] for row in sql("SELECT process_id::text FROM obol.processes")} == {str(lapsed), str(alive)}


def test_one_batch_at_a_time(new_license, deduct, age, sql):
    license = new_license()
    for key in "abc":
        deduct(license, key=key)
    age("31 days")

    assert [sql("SELECT obol.purge_expired(2)")[0][0] for _ in range(3)] == [2, 1, 0]


def test_the_age_can_be_chosen(new_license, deduct, age, sql):
    deduct(new_license(), key="k")
    age("8 days")

    assert sql("SELECT obol.purge_expired(p_key_days => 9)") == [(0,)]
    assert sql("SELECT obol.purge_expired(p_key_days => 7)") == [(1,)]
