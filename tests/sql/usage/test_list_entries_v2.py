"""obol.list_entries_v2 and obol.entry_span: the statement, filtered, in batches."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import usage
from service.repository.usage import Filters, Reader, Span

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
DATED = """UPDATE obol.ledger_entries SET created_at = %s + (entry_no - 1) * interval '1 day'
            WHERE license_id = %s"""


@pytest.fixture
def license(sql, new_license, deduct, process_hold, settle):
    """Entries 1 grant, 2 to 9 deductions of 2 to 9 but 5, a charge; a day apart."""
    license = new_license()
    for number in range(2, 10):
        if number == 5:
            settle(license, process_hold(license), 5)
        else:
            deduct(license, number)
    sql(DATED, (BEGIN, str(license.id)))
    return license


@pytest.fixture
def reader(license):
    return Reader.with_key(license.key)


def day(number):
    """The time of an entry."""
    return BEGIN + timedelta(days=number - 1)


FILTERED = [
    (Filters(), [9, 8, 7, 6, 5, 4, 3, 2, 1]),
    (Filters(kind="charge"), [5]),
    (Filters(kind="grant"), [1]),
    (Filters(kind="refund"), []),
    (Filters(model="a-model"), [5]),
    (Filters(model="another"), []),
    (Filters(from_at=day(3)), [9, 8, 7, 6, 5, 4, 3]),
    (Filters(to_at=day(3)), [2, 1]),
    (Filters(from_at=day(3), to_at=day(3) + timedelta(microseconds=1)), [3]),
    (Filters(kind="deduction", from_at=day(4), to_at=day(7)), [6, 4]),
    (Filters(from_at=day(99)), []),
    (Filters(to_at=day(1)), []),
    (Filters(from_at=day(5), to_at=day(2)), []),
]


@pytest.mark.parametrize(("filters", "expected"), FILTERED)
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_pages_and_batches_have_what_is_asked_for(db, reader, monkeypatch, filters, expected, size):
    monkeypatch.setattr(usage, "BATCH", size)
    monkeypatch.setattr(usage, "WINDOW", size)

    whole = usage.batches(db, reader, filters, of=usage.span(db, reader, filters))
    assert [entry.entry_no for batch in whole for entry in batch] == expected
    found, before = [], None
    while True:
        page = usage.page(db, reader, filters, before=before, limit=2)
        assert len(page.entries) <= 2
        found += [entry.entry_no for entry in page.entries]
        if page.before is None:
            break
        before = page.before
    assert found == expected


def test_entries_can_be_those_of_a_key(db, license, new_key, reader, deduct, refund):
    key = new_key(license)
    refund(license, deduct(key, 3).deduction_id)
    for key_id, expected in [(key.key_id, [10]), (license.key_id, [9, 8, 7, 6, 5, 4, 3, 2]), (uuid4(), [])]:
        found = usage.page(db, reader, Filters(key_id=key_id), limit=20).entries
        assert [entry.entry_no for entry in found] == expected
        assert {entry.key_id for entry in found} <= {key_id}
    assert [entry.key_id for entry in usage.page(db, reader, limit=2).entries] == [None, key.key_id]


def test_a_page_looks_at_so_many_entries_and_no_more(db, reader, monkeypatch):
    monkeypatch.setattr(usage, "WINDOW", 2)
    monkeypatch.setattr(usage, "MOST_WINDOWS", 2)

    first = usage.page(db, reader, Filters(kind="grant"), limit=5)
    assert first == ([], 6, None)
    second = usage.page(db, reader, Filters(kind="grant"), before=first.before, limit=5)
    assert ([entry.entry_no for entry in second.entries], second.before) == ([], 2)
    last = usage.page(db, reader, Filters(kind="grant"), before=second.before, limit=5)
    assert ([entry.entry_no for entry in last.entries], last.before) == ([1], None)


def test_what_comes_later_is_not_in_a_statement_that_has_begun(db, license, reader, deduct, monkeypatch):
    monkeypatch.setattr(usage, "BATCH", 4)
    batches = usage.batches(db, reader, usage.ALL, of=usage.span(db, reader))
    found = [entry.entry_no for entry in next(batches)]
    deduct(license, 1)
    assert found + [entry.entry_no for batch in batches for entry in batch] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_clock_that_was_put_back_hides_nothing(db, sql, license, reader):
    sql("UPDATE obol.ledger_entries SET created_at = %s WHERE entry_no = 6", (day(5) - timedelta(minutes=50),))
    filters = Filters(from_at=day(5) - timedelta(minutes=1), to_at=day(7))
    for number in (5, 6):
        found = usage.page(db, reader, filters, limit=10).entries
        assert [entry.entry_no for entry in found] == [5], number
    before = Filters(to_at=day(5))
    assert [entry.entry_no for entry in usage.page(db, reader, before, limit=10).entries] == [6, 4, 3, 2, 1]


def test_a_license_without_entries_has_an_empty_statement(db, new_license):
    empty = Reader.with_key(new_license(credits=0).key)
    assert usage.span(db, empty, Filters(from_at=BEGIN)) == Span(0, 0)
    assert list(usage.batches(db, empty, usage.ALL, of=Span(0, 0))) == []
    assert usage.page(db, empty, limit=5) == ([], None, None)


@pytest.mark.parametrize("call", [usage.span, lambda db, reader: usage.page(db, reader, limit=1)])
def test_only_who_may_read_it_does(db, owner, license, call):
    for database, reader, code in [
        (db, Reader(license.id, b"x" * 32, None, None), "license_invalid"),
        (db, Reader.operator(license.id), "admin_forbidden"),
        (owner, Reader.operator(uuid4()), "license_invalid"),
    ]:
        with pytest.raises(Problem) as refused:
            call(database, reader)
        assert refused.value.code == code
    assert call(owner, Reader.operator(license.id))
