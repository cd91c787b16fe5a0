"""Prices, charges and holds: whole numbers, rounded up once, and never too small a hold."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import pricing
from service.pricing import CLASSES, PriceRow, price_of
from service.repository.prices import book

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)

prices = st.fixed_dictionaries({name: st.integers(0, 200_000_000) for name in CLASSES})
tokens = st.integers(0, 2_000_000)


def price(**classes):
    return dict.fromkeys(CLASSES, 0) | classes


@pytest.mark.parametrize(
    ("usage", "credits"),
    [
        ({}, 0),
        ({"input": 1}, 1),
        ({"input": 333_333}, 1),
        ({"input": 333_334}, 2),
        ({"input": 1, "output": 1, "cache_read": 1}, 1),
        ({"cache_write_5m": 1_000_000, "cache_write_1h": 1_000_000}, 9),
    ],
)
def test_a_charge_is_rounded_up_once_at_the_end(usage, credits):
    three = price(input=3, output=2, cache_write_5m=4, cache_write_1h=5, cache_read=1)
    assert pricing.charge(three, usage) == credits


@settings(max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(price=prices, usage=st.fixed_dictionaries(dict.fromkeys(CLASSES, tokens)))
def test_sql_computes_the_same(owner_connection, price, usage):
    with owner_connection.cursor() as cursor:
        cursor.execute("SELECT obol.charge_for(%s, %s)", (json.dumps(price), json.dumps(usage)))
        assert cursor.fetchone() == (pricing.charge(price, usage),)


@settings(database=None)
@given(price=prices, texts=st.lists(st.text(max_size=50), max_size=3), most=st.integers(1, 5000), data=st.data())
def test_a_hold_covers_all_that_its_tokens_can_cost(price, texts, most, data):
    bound = pricing.input_bound(texts)
    amount = pricing.hold_size(price, bound, most).amount
    used = {"input": data.draw(st.integers(0, bound)), "output": data.draw(st.integers(0, most))}

    assert pricing.charge(price, used) <= amount


@settings(database=None)
@given(price=prices, bound=tokens, most=st.integers(1, 5000), data=st.data())
def test_a_smaller_hold_covers_the_tokens_that_it_affords(price, bound, most, data):
    size = pricing.hold_size(price, bound, most)
    amount = data.draw(st.integers(size.min_amount, size.amount))

    affordable = pricing.affordable_max_tokens(price, bound, most, amount)

    assert min(pricing.LEAST_MAX_TOKENS, most) <= affordable <= most
    assert pricing.charge(price, {"input": bound, "output": affordable}) <= amount


def test_the_whole_hold_affords_all_that_was_asked_for():
    both = price(input=7, output=11)
    assert pricing.affordable_max_tokens(both, 100, 4096, pricing.hold_size(both, 100, 4096).amount) == 4096


def test_output_that_costs_nothing_is_not_limited():
    assert pricing.affordable_max_tokens(price(input=5), 100, 4096, 0) == 4096


def test_a_hold_below_the_least_worth_having_is_asked_for_whole():
    assert pricing.hold_size(price(output=1_000_000), 0, 255) == (255, 255)
    assert pricing.hold_size(price(output=1_000_000), 0, 300) == (300, 256)


def test_text_is_bounded_by_its_bytes():
    assert pricing.input_bound(["aé🐘", ""]) == 1 + 2 + 4 + pricing.FRAMING_TOKENS


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
    ],
)
def test_which_price_is_in_force(rows, model, found):
    rows = [PriceRow(pattern, effective_from, {"input": credits}) for pattern, effective_from, credits in rows]
    assert price_of(rows, model, NOW) == (None if found is None else {"input": found})


def test_the_shipped_book_charges_a_credit_a_token(db):
    (row,) = book(db)
    assert (row.pattern, row.price) == ("*", dict.fromkeys(CLASSES, 1_000_000))
