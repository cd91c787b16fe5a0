"""Which price is in force, and that the price book is read now and then: by one thread, while the others
go on with the old one."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from factories import wait_until

from service.gateway import price_book
from service.gateway.price_book import PriceBook, find_price
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import prices
from service.repository.prices import PriceRow

CHARGE = 40
NOW = datetime(2026, 6, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)


@pytest.mark.parametrize(
    ("rows", "model", "found"),
    [
        ([], "claude-x", None),
        ([("claude-x", NOW, 1)], "claude-y", None),
        ([("claude-x", NOW, 1)], "claude-x-2", None),
        ([("claude-x", NOW, 1)], "claude-x", 1),
        ([("*", NOW, 1)], "", 1),
        ([("claude-*", NOW, 1)], "gpt-1", None),
        ([("*", NOW, 1), ("claude-*", EARLIER, 2)], "claude-x", 2),
        ([("claude-x-*", NOW, 1), ("claude-x-1", EARLIER, 2)], "claude-x-1", 2),
        ([("claude-x-1*", NOW, 1), ("claude-x-1", EARLIER, 2)], "claude-x-1", 2),
        ([("*", EARLIER, 1), ("*", NOW, 2), ("*", LATER, 3)], "m", 2),
        ([("*", LATER, 1)], "m", None),
        ([("*", EARLIER, 1), ("m", LATER, 2)], "m", 1),
        # A pattern that has ended refuses what it names, whatever a shorter one says.
        ([("*", EARLIER, 1), ("*", NOW, None)], "m", None),
        ([("*", NOW, 1), ("m", EARLIER, 2), ("m", NOW, None)], "m", None),
        ([("m", EARLIER, 2), ("m", LATER, None)], "m", 2),
        ([("m", EARLIER, None), ("m", NOW, 2)], "m", 2),
    ],
)
def test_which_price_is_in_force(rows, model, found):
    rows = [PriceRow(pattern, at, credits and {"input": credits}, NOW) for pattern, at, credits in rows]
    assert find_price(rows, model, NOW) == (None if found is None else {"input": found})


def test_current_rows_are_those_in_force_and_those_to_come():
    rows = [
        PriceRow(pattern, at, {}, NOW)
        for pattern, at in [("b", LATER), ("*", NOW), ("b", EARLIER), ("*", EARLIER), ("b", NOW), ("c", LATER)]
    ]

    assert [row[:2] for row in prices.current(rows)] == [("*", NOW), ("b", NOW), ("b", LATER), ("c", LATER)]
    assert prices.current([]) == []


def test_the_shipped_book_charges_a_credit_a_token(db):
    (row,) = prices.book(db)
    assert (row.pattern, row.price) == ("*", dict.fromkeys(CLASSES, 1_000_000))


# when it is read


@pytest.fixture
def book(clock, monkeypatch):
    """A price book of no database, by the clock of the test."""
    monkeypatch.setattr(price_book, "elapsed", clock)
    return PriceBook(None)


@pytest.fixture
def reading(monkeypatch):
    """How the price book is read: `reading.reads` of them, each with the next outcome, or the last."""

    class Reading:
        reads, outcomes = 0, [[]]

    def read(database):
        Reading.reads += 1
        outcome = Reading.outcomes.pop(0) if len(Reading.outcomes) > 1 else Reading.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome() if callable(outcome) else outcome

    monkeypatch.setattr(prices, "book", read)
    return Reading


def rows(credits):
    figures = dict.fromkeys(CLASSES, credits)
    return [PriceRow("m", datetime(2026, 1, 1, tzinfo=UTC), figures, NOW)]


def down():
    return Problem("database_error", "down", retry_after_s=1)


def test_the_price_book_is_read_again_after_a_while(seller, new_license, new_call, sql, monkeypatch):
    license = new_license()
    seller.answer(license.key, new_call())
    sql("DELETE FROM obol.prices")

    assert seller.answer(license.key, new_call()).receipt.charged == CHARGE
    monkeypatch.setattr(price_book, "TTL_S", 0)
    with pytest.raises(Problem, match="model_not_priced"):
        seller.answer(license.key, new_call())


def test_the_price_book_is_read_when_it_is_due_and_not_before(book, clock, reading):
    reading.outcomes = [rows(1), rows(2)]

    assert book.find_price("m")["input"] == 1
    clock.now += price_book.TTL_S - 0.01
    assert (book.find_price("m")["input"], book.find_price("n"), reading.reads) == (1, None, 1)
    clock.now += 0.01
    assert (book.find_price("m")["input"], reading.reads) == (2, 2)
    assert (book.find_price("m")["input"], reading.reads) == (2, 2)


@pytest.mark.parametrize("off", [timedelta(hours=-9), timedelta(0), timedelta(hours=9)])
def test_what_is_in_force_is_told_by_the_database_s_clock(seller, new_license, new_call, sql, monkeypatch, off):
    """With a container's clock that is hours off, hours of answers were charged at another price."""
    for figure, when in ((2_000_000, "- interval '1 hour'"), (3_000_000, "+ interval '1 hour'")):
        sql(
            f"INSERT INTO obol.prices (model_pattern, effective_from, {', '.join(CLASSES)})"
            f" VALUES ('*', now() {when}, {', '.join([str(figure)] * len(CLASSES))})"
        )

    class Wrong(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + off

    for module in ("service.gateway.price_book", "service.repository.prices"):
        monkeypatch.setattr(f"{module}.datetime", Wrong)
    assert seller.answer(new_license().key, new_call()).receipt.charged == 2 * CHARGE


def test_a_price_comes_into_force_between_two_reads(book, clock, reading):
    early, late = ({"input": number} for number in (1, 2))
    reading.outcomes = [[PriceRow("m", EARLIER, early, NOW), PriceRow("m", NOW + timedelta(seconds=2), late, NOW)]]
    found = []
    for _ in range(4):
        found.append(book.find_price("m")["input"])
        clock.now += 1
    assert (found, reading.reads) == ([1, 1, 2, 2], 1)


def test_one_thread_reads_while_the_others_go_on_with_the_old_book(book, clock, reading):
    may_end, came = threading.Event(), []

    def slowly():
        assert may_end.wait(20)
        return rows(2)

    reading.outcomes = [rows(1), slowly]
    book.find_price("m")
    clock.now += price_book.TTL_S
    reader = threading.Thread(target=lambda: came.append(book.find_price("m")["input"]))
    reader.start()
    wait_until(lambda: reading.reads == 2)

    assert [book.find_price("m")["input"] for _ in range(3)] == [1, 1, 1]
    assert reading.reads == 2
    may_end.set()
    reader.join()
    assert (came, book.find_price("m")["input"], reading.reads) == ([2], 2, 2)


def test_there_is_no_old_book_at_first_so_that_everybody_reads(book, clock, reading):
    may_end, came = threading.Event(), []

    def slowly():
        assert may_end.wait(20)
        return rows(1)

    reading.outcomes = [slowly]
    readers = [threading.Thread(target=lambda: came.append(book.find_price("m")["input"])) for _ in range(3)]
    for reader in readers:
        reader.start()
    wait_until(lambda: reading.reads == 3)
    may_end.set()
    for reader in readers:
        reader.join()
    assert came == [1, 1, 1]


def test_a_read_that_fails_is_told_and_tried_again_at_the_next_call(book, clock, reading):
    reading.outcomes = [rows(1), down(), down(), rows(2)]
    book.find_price("m")
    clock.now += price_book.TTL_S

    for _ in range(2):
        with pytest.raises(Problem, match="database_error"):
            book.find_price("m")
    assert book.find_price("m")["input"] == 2
    assert (book.find_price("m")["input"], reading.reads) == (2, 4)


def test_a_first_read_that_fails_is_tried_again(book, clock, reading):
    reading.outcomes = [down(), rows(1)]

    with pytest.raises(Problem, match="database_error"):
        book.find_price("m")
    assert (book.find_price("m")["input"], reading.reads) == (1, 2)


def test_an_empty_book_is_read_each_time(book, clock, reading):
    assert (book.find_price("m"), book.find_price("m"), reading.reads) == (None, None, 2)
    reading.outcomes = [rows(1)]
    assert book.find_price("m")["input"] == 1


def test_a_call_for_which_the_book_could_not_be_read_opens_no_hold(seller, flaky, new_license, new_call, sql, lease):
    flaky.fail("obol.list_prices")

    with pytest.raises(Problem, match="database_error"):
        seller.answer(new_license().key, new_call())
    assert sql("SELECT * FROM obol.holds") == []
    assert lease._live == {}
    assert seller.answer(new_license().key, new_call()).receipt.charged == CHARGE
