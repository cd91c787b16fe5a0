"""What is kept of the business by time: the overview is the same with it and without it, and verify looks after it."""

from uuid import uuid4

import pytest

from service.repository import admin, ledger

SINCE = "2026-01-01"
OVERVIEW = f"SELECT * FROM obol.overview('{SINCE}', '2026-01-12', NULL, NULL) ORDER BY day"


@pytest.fixture
def business(owner, db, new_license, sql):
    """A license whose entries are of ten days in January, and one of its charges of a shortfall."""
    license = new_license(credits=1000)
    for amount in range(1, 8):
        ledger.deduct(db, license.key, uuid4(), amount=amount)
    ledger.adjust(owner, license.id, uuid4(), amount=-3, reason="counted twice")
    sql(
        "SET session_replication_role = replica; "
        "UPDATE obol.ledger_entries "
        "   SET created_at = '2026-01-01T23:55:00Z'::timestamptz + entry_no * '26 hours'::interval; "
        "UPDATE obol.licenses SET created_at = '2026-01-02T00:00:00Z'"
    )
    return license


def roll_up(db):
    counted = []
    while count := admin.roll_up_business(db):
        counted.append(count)
    return counted


def test_the_overview_is_the_same_with_what_is_kept_and_without(business, db, sql, verified):
    before = sql(OVERVIEW)
    counted = roll_up(db)
    assert counted[0] == 144, "a day at once"
    assert sql(OVERVIEW) == before
    assert sum(row[2] for row in before) == 28
    assert admin.roll_up_business(db) == 0
    # It ends between ten and twenty minutes ago, and has no gap.
    ((newest, rows, span),) = sql(
        "SELECT now() - max(begins_at), count(*), max(begins_at) - min(begins_at) FROM obol.business_rollups"
    )
    assert 19 < newest.total_seconds() / 60 < 31
    assert span.total_seconds() == 600 * (rows - 1)
    verified()


def test_what_has_happened_since_is_added_up_at_once(db, new_license, sql):
    license = new_license(credits=100)
    sql("UPDATE obol.licenses SET created_at = now() - interval '3 hours'")
    roll_up(db)
    ledger.deduct(db, license.key, uuid4(), amount=7)
    ((charged, outstanding),) = sql(
        "SELECT sum(charged), min(outstanding) FROM obol.overview(current_date, current_date, NULL, NULL)"
    )
    assert (charged, outstanding) == (7, 93)


def test_without_licenses_there_is_nothing_to_count(db, sql):
    assert admin.roll_up_business(db) == 0
    assert sql("SELECT count(*) FROM obol.business_rollups") == [(0,)]


def test_an_entry_that_was_seen_late_is_found_a_day_later(business, db, sql, verified):
    """Counted while it was not yet to be seen, as a transaction is that somebody held open."""
    sql("CREATE TABLE public.late AS SELECT * FROM obol.ledger_entries WHERE entry_no = 5")
    sql("SET session_replication_role = replica; DELETE FROM obol.ledger_entries WHERE entry_no = 5")
    roll_up(db)
    sql("SET session_replication_role = replica; INSERT INTO obol.ledger_entries SELECT * FROM public.late")
    sql("UPDATE obol.business_rollups SET is_final = false WHERE begins_at >= '2026-01-05'")
    verified()
    counted = roll_up(db)
    assert sum(counted) > 144
    assert sql("SELECT sum(charged) FROM obol.business_rollups") == [(28,)]
    assert sql("SELECT count(*) FROM obol.business_rollups WHERE NOT is_final") == [(146,)] or counted[-1] > 0
    verified()


@pytest.mark.tampers
@pytest.mark.parametrize(
    "what",
    [
        "UPDATE obol.business_rollups SET charged = charged + 1 WHERE begins_at = '2026-01-05T00:00:00Z'",
        "DELETE FROM obol.business_rollups WHERE charged = 7",
        "SET session_replication_role = replica; DELETE FROM obol.ledger_entries WHERE entry_no = 5",
    ],
)
def test_verify_compares_what_is_kept_with_the_entries(business, db, owner, sql, what):
    roll_up(db)
    sql(what)
    found = [row for row in ledger.verify(owner) if row.rule == "the business by time is what its entries say"]
    assert [row.license_id for row in found] == [None]
    assert "2026-01" in found[0].detail


def test_two_at_once_come_to_the_same(business, db, sql):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: [admin.roll_up_business(db) for _ in range(3)], range(2)))
    roll_up(db)
    assert sql("SELECT sum(charged), sum(granted), sum(adjusted) FROM obol.business_rollups") == [(28, 1000, -3)]
