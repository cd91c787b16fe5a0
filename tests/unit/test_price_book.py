"""The price book is read now and then, by one thread while the others go on with the old one."""

import threading
from datetime import UTC, datetime

import pytest
from factories import wait_until

from service import completions
from service.pricing import CLASSES, PriceRow
from service.problems import Problem

CHARGE = 40


@pytest.fixture
def time(monkeypatch):
    """What the clock of the price book shows, in a list of one."""
    now = [1000.0]
    monkeypatch.setattr(completions.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def reading(monkeypatch):
    """How the price book is read: `reading.reads` of them, each with the next outcome, or the last."""

    class Reading:
        reads, outcomes = 0, [[]]

    def book(database):
        Reading.reads += 1
        outcome = Reading.outcomes.pop(0) if len(Reading.outcomes) > 1 else Reading.outcomes[0]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome() if callable(outcome) else outcome

    monkeypatch.setattr(completions.prices, "book", book)
    return Reading


def rows(credits):
    figures = dict.fromkeys(CLASSES, credits)
    return [PriceRow("m", datetime(2026, 1, 1, tzinfo=UTC), figures)]


def down():
    return Problem("database_error", "down", retry_after_s=1)


def test_the_price_book_is_read_again_after_a_while(seller, new_license, new_call, sql, monkeypatch):
    license = new_license()
    seller.answer(license.key, new_call())
    sql("DELETE FROM obol.prices")

    assert seller.answer(license.key, new_call()).receipt.charged == CHARGE
    monkeypatch.setattr(completions, "PRICE_BOOK_TTL_S", 0)
    with pytest.raises(Problem, match="model_not_priced"):
        seller.answer(license.key, new_call())


def test_the_price_book_is_read_when_it_is_due_and_not_before(seller, time, reading):
    reading.outcomes = [rows(1), rows(2)]

    assert seller._price("m")["input"] == 1
    time[0] += completions.PRICE_BOOK_TTL_S - 0.01
    assert (seller._price("m")["input"], seller._price("n"), reading.reads) == (1, None, 1)
    time[0] += 0.01
    assert (seller._price("m")["input"], reading.reads) == (2, 2)
    assert (seller._price("m")["input"], reading.reads) == (2, 2)


def test_one_thread_reads_while_the_others_go_on_with_the_old_book(seller, time, reading):
    may_end, came = threading.Event(), []

    def slowly():
        assert may_end.wait(20)
        return rows(2)

    reading.outcomes = [rows(1), slowly]
    seller._price("m")
    time[0] += completions.PRICE_BOOK_TTL_S
    reader = threading.Thread(target=lambda: came.append(seller._price("m")["input"]))
    reader.start()
    wait_until(lambda: reading.reads == 2)

    assert [seller._price("m")["input"] for _ in range(3)] == [1, 1, 1]
    assert reading.reads == 2
    may_end.set()
    reader.join()
    assert (came, seller._price("m")["input"], reading.reads) == ([2], 2, 2)


def test_there_is_no_old_book_at_first_so_that_everybody_reads(seller, time, reading):
    may_end, came = threading.Event(), []

    def slowly():
        assert may_end.wait(20)
        return rows(1)

    reading.outcomes = [slowly]
    readers = [threading.Thread(target=lambda: came.append(seller._price("m")["input"])) for _ in range(3)]
    for reader in readers:
        reader.start()
    wait_until(lambda: reading.reads == 3)
    may_end.set()
    for reader in readers:
        reader.join()
    assert came == [1, 1, 1]


def test_a_read_that_fails_is_told_and_tried_again_at_the_next_call(seller, time, reading):
    reading.outcomes = [rows(1), down(), down(), rows(2)]
    seller._price("m")
    time[0] += completions.PRICE_BOOK_TTL_S

    for _ in range(2):
        with pytest.raises(Problem, match="database_error"):
            seller._price("m")
    assert seller._price("m")["input"] == 2
    assert (seller._price("m")["input"], reading.reads) == (2, 4)


def test_a_first_read_that_fails_is_tried_again(seller, time, reading):
    reading.outcomes = [down(), rows(1)]

    with pytest.raises(Problem, match="database_error"):
        seller._price("m")
    assert (seller._price("m")["input"], reading.reads) == (1, 2)


def test_an_empty_book_is_read_each_time(seller, time, reading):
    assert (seller._price("m"), seller._price("m"), reading.reads) == (None, None, 2)
    reading.outcomes = [rows(1)]
    assert seller._price("m")["input"] == 1


def test_a_call_for_which_the_book_could_not_be_read_opens_no_hold(seller, flaky, new_license, new_call, sql, leases):
    flaky.function, flaky.failures = "obol.price_book", 1

    with pytest.raises(Problem, match="database_error"):
        seller.answer(new_license().key, new_call())
    assert sql("SELECT * FROM obol.holds") == []
    assert leases._live == set()
    assert seller.answer(new_license().key, new_call()).receipt.charged == CHARGE
