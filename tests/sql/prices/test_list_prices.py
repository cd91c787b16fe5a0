"""obol.list_prices: the whole price book, for the service to read."""

from datetime import UTC, datetime, timedelta

from service.pricing import CLASSES
from service.repository import prices

ONE = dict.fromkeys(CLASSES, 1)
TIERED = ONE | {"tiers": [{"above_input_tokens": 100} | dict.fromkeys(CLASSES, 5)]}
SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)


def test_a_fresh_book_sells_every_model_for_a_credit_a_token(db):
    (row,) = prices.book(db)
    assert row[:3] == ("*", datetime(2026, 1, 1, tzinfo=UTC), dict.fromkeys(CLASSES, 1_000_000))


def test_it_says_what_time_it_is(db, sql):
    ((before,),) = sql("SELECT now()")
    (row,) = prices.book(db)
    ((after,),) = sql("SELECT now()")
    assert before < row.read_at < after


def test_what_is_to_come_and_what_has_ended_is_listed_too(db, owner):
    prices.set_prices(owner, [("m", SOON, TIERED), ("m", SOON + timedelta(days=1), None), ("n", SOON, ONE)])

    listed = [row for row in prices.book(db) if row.pattern != "*"]

    assert len(listed) == 3
    assert {row[:2]: row.price for row in listed} == {
        ("m", SOON): TIERED,
        ("m", SOON + timedelta(days=1)): None,
        ("n", SOON): ONE,
    }
