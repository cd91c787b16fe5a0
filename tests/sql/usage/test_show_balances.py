"""obol.show_balances: the balance by day."""

from datetime import UTC, date, datetime, timedelta

import pytest
from ageing import age
from factories import current_day

from service import archive
from service.archivefile import Folder
from service.problems import Problem
from service.repository import usage
from service.repository.usage import Reader

DATED = "UPDATE obol.ledger_entries SET created_at = %s WHERE license_id = %s AND entry_no = %s"


@pytest.fixture
def license(sql, new_license, deduct):
    """A grant on the 1st, deductions of 1 to 4: two on the 3rd, one in its last microsecond, and two on the 6th."""
    license = new_license(credits=100)
    for amount in (1, 2, 3, 4):
        deduct(license, amount)
    times = ("01 12:00", "03 00:00", "03 23:59:59.999999", "06 00:00", "06 10:00")
    for number, time in enumerate(times, 1):
        sql(DATED, (f"2026-01-{time}+00", str(license.id), number))
    return license


def january(db, license, first, last):
    rows = usage.balances(
        db, Reader.with_key(license.key), first=date(2026, 1, 1) + timedelta(first - 1), last=date(2026, 1, last)
    )
    return [((row.day - date(2025, 12, 31)).days, row.balance) for row in rows]


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        (-30, 8, [(0, 0), (1, 100), (2, 100), (3, 97), (4, 97), (5, 97), (6, 90), (7, 90), (8, 90)]),
        (2, 4, [(2, 100), (3, 97), (4, 97)]),
        (6, 6, [(6, 90)]),
        (5, 5, [(5, 97)]),
        (-30, 1, [(0, 0), (1, 100)]),
        (7, 6, []),
    ],
)
def test_each_day_has_the_balance_of_its_last_entry(db, license, first, last, expected):
    assert january(db, license, first, last) == expected


def test_it_is_what_the_entries_say(db, new_license, deduct, sql):
    license = new_license(credits=1000)
    for amount in range(1, 41):
        deduct(license, amount)
    spread = """UPDATE obol.ledger_entries SET created_at = timestamptz '2026-01-01 00:00+00'
                    + (entry_no * entry_no) * interval '53 minutes' WHERE license_id = %s"""
    sql(spread, (str(license.id),))
    said = sql(
        """SELECT DISTINCT ON (1) (created_at AT TIME ZONE 'UTC')::date, balance_after FROM obol.ledger_entries
            WHERE license_id = %s ORDER BY 1, entry_no DESC""",
        (str(license.id),),
    )
    found = dict(usage.balances(db, Reader.with_key(license.key), first=date(2026, 1, 1), last=date(2026, 3, 31)))
    assert len(found) == 90
    assert {day: found[day] for day, _ in said if day in found} == dict(said)


def test_a_license_without_an_entry_has_a_day_at_nothing(db, new_license):
    assert january(db, new_license(credits=0), 1, 5) == [(5, 0)]


def test_days_before_the_newest_of_the_archive_are_not_known(db, owner, new_license, deduct, sql, tmp_path):
    today, license = current_day(), new_license(credits=100)
    deduct(license, 30)
    age(sql, 80)
    archive.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC))
    deduct(license, 5)
    found = usage.balances(db, Reader.with_key(license.key), first=today - timedelta(89), last=today)
    assert (found[0].day, found[0].balance) == (today - timedelta(80), 70)
    assert [row.balance for row in found[-2:]] == [70, 65]
    assert usage.balances(db, Reader.with_key(license.key), first=date(2020, 1, 1), last=today)[0] == found[0]


def test_a_key_that_is_not_good_reads_nothing(db, license, new_license):
    wrong = Reader.with_key(new_license().key)._replace(license_id=license.id)
    with pytest.raises(Problem) as refused:
        usage.balances(db, wrong, first=date(2026, 1, 1), last=date(2026, 1, 2))
    assert refused.value.code == "license_invalid"
