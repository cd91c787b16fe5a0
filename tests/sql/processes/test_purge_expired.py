"""obol.purge_expired: answers after their time to live, keys after 30 days and with them the holds that
ended without a charge, leases after a day."""

from uuid import uuid4

import pytest
from factories import run

from service.problems import Problem
from service.repository import holds, ledger, processes

KEYS = "SELECT idempotency_key, answer IS NOT NULL FROM obol.idempotency_keys ORDER BY 1"


@pytest.fixture
def age(sql):
    """`age(interval)`: every key was claimed, and every hold opened and ended, this much earlier."""
    return lambda interval: sql(
        f"UPDATE obol.idempotency_keys SET claimed_at = claimed_at - interval '{interval}';"
        f"UPDATE obol.holds SET opened_at = opened_at - interval '{interval}',"
        f" ended_at = ended_at - interval '{interval}'"
    )


@pytest.fixture
def unpaid(db, new_license, client_hold, process_hold, process_id, lapse):
    """`unpaid(license)`: a client's hold and two of a process that ended without a charge, each with a key."""

    def end(license):
        of_client, released = client_hold(license, key="client"), process_hold(license, key="released")
        expired = process_hold(license, key="expired")
        holds.release(db, license.key, of_client.hold_id)
        holds.release(db, license.key, released.hold_id, process_id=process_id)
        lapse()
        processes.heartbeat(db, process_id, 60)
        return of_client, released, expired

    return end


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


def test_entries_and_settled_holds_stay(db, new_license, client_hold, process_hold, settle, age, sql):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1)
    holds.settle(db, license.key, client_hold(license).hold_id, amount=1)
    age("31 days")

    assert processes.purge(db) == 1
    assert sql("SELECT (SELECT count(*) FROM obol.holds), (SELECT count(*) FROM obol.ledger_entries)") == [(2, 3)]


def test_holds_that_ended_without_a_charge_go_with_their_keys(db, owner, new_license, unpaid, client_hold, age, sql):
    unpaid(new_license())
    client_hold(new_license(), expires_in_s=1)
    age("29 days 23 hours")
    assert processes.purge(db) == 0

    age("2 hours")

    # What is still open stays, and verify finds nothing at either time.
    assert ledger.verify(owner) == []
    assert processes.purge(db) == 6
    assert sql("SELECT state FROM obol.holds") == [("held",)]
    assert sql(KEYS) == []
    assert ledger.verify(owner) == []


def test_credits_for_one_hold_leave_no_rows_for_ever(db, new_license, client_hold, age, sql):
    license = new_license(credits=1)
    for number in range(5):
        holds.release(db, license.key, client_hold(license, 1, key=f"{number}").hold_id)
    age("31 days")

    assert processes.purge(db) == 10
    assert sql("SELECT (SELECT count(*) FROM obol.holds), (SELECT count(*) FROM obol.idempotency_keys)") == [(0, 0)]
    assert client_hold(license, 1, key="0").outcome == "opened"


def test_a_key_that_a_later_call_took_over_stays_with_that_call(
    db, owner, new_license, unpaid, process_hold, settle, age, sql
):
    license = new_license()
    unpaid(license)
    age("31 days")
    hold = process_hold(license, key="released")
    settle(license, hold, 1, answer=b"sealed")

    assert processes.purge(db) == 5
    assert sql("SELECT hold_id::text FROM obol.holds") == [(str(hold.hold_id),)]
    assert sql(KEYS) == [("released", True)]
    assert ledger.verify(owner) == []


def test_what_is_forgotten_can_neither_be_settled_late_nor_released_again(db, new_license, unpaid, settle, age, money):
    license = new_license(credits=1000)
    of_client, _, expired = unpaid(license)
    age("31 days")
    processes.purge(db)

    with pytest.raises(Problem, match="hold_not_found"):
        settle(license, expired, 1)
    with pytest.raises(Problem, match="hold_not_found"):
        holds.release(db, license.key, of_client.hold_id)
    assert money(license) == (1000, 0)


def test_ended_holds_go_a_batch_at_a_time_and_no_key_names_one_that_is_gone(
    owner, new_license, client_hold, db, age, sql
):
    license = new_license()
    for key in "abc":
        holds.release(db, license.key, client_hold(license, key=key).hold_id)
    # The keys were claimed in another order than the holds ended.
    sql("UPDATE obol.holds SET ended_at = ended_at - interval '1 day' WHERE idempotency_key = 'c'")
    age("30 days")
    left = []
    while sql("SELECT obol.purge_expired(1)") != [(0,)]:
        assert ledger.verify(owner) == []
        left.append(sql("SELECT count(*) FROM obol.holds")[0][0])

    assert left == [2, 1, 0]
    assert sql(KEYS) == []


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


def test_the_lease_of_an_open_hold_stays_until_the_hold_has_ended(db, new_license, process_hold, reap, sql):
    process_hold(new_license())
    sql("UPDATE obol.processes SET lease_expires_at = clock_timestamp() - interval '25 hours'")
    left = "SELECT count(*) FROM obol.processes"
    processes.purge(db)
    assert sql(left) == [(1,)]

    reap()
    processes.purge(db)

    assert sql(left) == [(0,)]


def test_one_batch_at_a_time(new_license, deduct, age, sql):
    license = new_license()
    for key in "abc":
        deduct(license, key=key)
    age("31 days")

    assert [sql("SELECT obol.purge_expired(2)")[0][0] for _ in range(3)] == [2, 1, 0]


def test_a_longer_age_can_be_chosen(new_license, deduct, age, sql):
    deduct(new_license(), key="k")
    age("41 days")

    assert sql("SELECT obol.purge_expired(p_key_days => 42)") == [(0,)]
    assert sql("SELECT obol.purge_expired(p_key_days => 40)") == [(1,)]


@pytest.mark.parametrize("days", ["0", "-1", "29", "-2147483648", "2147483647", "NULL"])
def test_no_key_goes_early_whatever_the_service_s_login_asks_for(urls, new_license, deduct, age, days):
    """It would let a retry pay again."""
    license = new_license(credits=100)
    deduct(license, key="k")
    age("29 days 23 hours")

    assert run(urls.service, f"SELECT obol.purge_expired(1000000, {days})") == [(0,)]
    assert deduct(license, key="k").balance == 99


@pytest.mark.parametrize(("asked", "batch"), [("0", 1), ("-5", 1), ("NULL", 1), ("2147483647", 10_000)])
def test_a_batch_is_bounded(new_license, sql, asked, batch):
    license = new_license()
    sql(
        "INSERT INTO obol.idempotency_keys (license_id, scope, idempotency_key, fingerprint, cause_id, claimed_at)"
        " SELECT %s, 'operator', n::text, '', %s, clock_timestamp() - n * interval '1 second' - interval '31 days'"
        " FROM generate_series(1, 10001) n",
        (str(license.id), str(license.id)),
    )

    assert sql(f"SELECT obol.purge_expired({asked})") == [(batch,)]
