"""Prices, charges and holds: whole numbers, rounded up once, and never too small a hold.

That SQL computes the same is in tests/sql/test_charge_for.py."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service import pricing
from service.pricing import CLASSES, INPUT_CLASSES, LEAST_MAX_TOKENS, Bound, HoldSize, PriceRow, price_of
from service.repository.prices import book, current

NOW = datetime(2026, 6, 1, tzinfo=UTC)
EARLIER, LATER = NOW - timedelta(days=1), NOW + timedelta(seconds=1)

figures = st.fixed_dictionaries(dict.fromkeys(CLASSES, st.integers(0, 200_000_000)))
tokens = st.integers(0, 3_000)
usages = st.fixed_dictionaries(dict.fromkeys(CLASSES, tokens))


@st.composite
def prices(draw):
    """A price as the price book takes it: no tier is cheaper than the one below."""
    price = draw(figures)
    below, tiers = price, []
    for above in sorted(draw(st.sets(st.integers(1, 10_000), max_size=3))):
        more = draw(figures)
        below = {name: below[name] + more[name] for name in CLASSES}
        tiers.append({"above_input_tokens": above} | below)
    return price | {"tiers": tiers} if tiers else price


def price(**classes):
    return dict.fromkeys(CLASSES, 0) | classes


def prompt(usage):
    return sum(usage.get(name, 0) for name in INPUT_CLASSES)


# what is charged

THREE = price(input=3, output=2, cache_write_5m=4, cache_write_1h=5, cache_read=1)
# One credit a token, and five for every token of a call with more than 100 in its prompt.
LONG = dict.fromkeys(CLASSES, 1_000_000) | {
    "tiers": [
        {"above_input_tokens": 100} | dict.fromkeys(CLASSES, 5_000_000),
        {"above_input_tokens": 200} | dict.fromkeys(CLASSES, 7_000_000),
    ]
}
FALLS_BACK = price(output=1_000_000) | {"models": {"b": price(output=10_000_000), "long": LONG}}


@pytest.mark.parametrize(
    ("price", "usage", "credits"),
    [
        (THREE, {}, 0),
        (THREE, {"input": 1}, 1),
        (THREE, {"input": 333_333}, 1),
        (THREE, {"input": 333_334}, 2),
        (THREE, {"input": 1, "output": 1, "cache_read": 1}, 1),
        (THREE, {"cache_write_5m": 1_000_000, "cache_write_1h": 1_000_000}, 9),
        # Above means more than; and what is written and read counts as prompt, the answer does not.
        (LONG, {"input": 100, "output": 500}, 600),
        (LONG, {"input": 101}, 505),
        (LONG, {"input": 25, "cache_write_5m": 25, "cache_write_1h": 25, "cache_read": 26, "output": 9}, 550),
        (LONG, {"cache_read": 200, "output": 1}, 1005),
        (LONG, {"cache_read": 201, "output": 1}, 1414),
        # Each attempt at its own model's price; one that is not named, or not known, at the call's.
        (FALLS_BACK, {"attempts": [{"model": "a", "output": 2}, {"model": "b", "output": 3}]}, 32),
        (FALLS_BACK, {"attempts": [{"output": 2}]}, 2),
        (FALLS_BACK, {"model": "b", "output": 2}, 20),
        (FALLS_BACK, {"attempts": []}, 0),
        # Each attempt in its own tier, not in the one of their sum.
        (FALLS_BACK, {"attempts": [{"model": "long", "input": 99}, {"model": "long", "input": 101}]}, 604),
        # Rounded up once for the call, not for each attempt.
        (price(input=500_000), {"attempts": [{"input": 1}, {"input": 1}]}, 1),
    ],
)
def test_worked_examples(price, usage, credits):
    assert pricing.charge(price, usage) == credits


def test_tiers_may_stand_in_any_order():
    assert pricing.tier_of(LONG | {"tiers": LONG["tiers"][::-1]}, 300)["input"] == 7_000_000


@settings(database=None)
@given(price=prices(), usage=usages)
def test_a_charge_is_never_negative(price, usage):
    assert pricing.charge(price, usage) >= 0


@settings(database=None)
@given(price=prices(), usage=usages, name=st.sampled_from(CLASSES), more=tokens)
def test_more_tokens_are_never_cheaper(price, usage, name, more):
    assert pricing.charge(price, usage | {name: usage[name] + more}) >= pricing.charge(price, usage)


@settings(database=None)
@given(price=prices(), one=usages, other=usages)
def test_two_calls_are_never_cheaper_than_one_with_their_tokens(price, one, other):
    """Where both are in the tier of the whole. Across tiers two short prompts are cheaper than a
    long one, and rightly: the upstream itself charges so."""
    whole = {name: one[name] + other[name] for name in CLASSES}
    shorter = min(prompt(one), prompt(other))
    same_for_all = [
        tier for tier in price.get("tiers", ()) if not shorter <= tier["above_input_tokens"] < prompt(whole)
    ]
    price = price | {"tiers": same_for_all}

    assert pricing.charge(price, one) + pricing.charge(price, other) >= pricing.charge(price, whole)


def test_two_short_prompts_are_cheaper_than_a_long_one():
    assert 2 * pricing.charge(LONG, {"input": 100}) < pricing.charge(LONG, {"input": 200})


# what is held


@st.composite
def calls(draw):
    """Prices of a model and its fallbacks, the classes its prompt can be charged as, the most tokens
    of the prompt, and max_tokens."""
    classes = draw(st.sets(st.sampled_from(INPUT_CLASSES), min_size=1))
    return draw(st.lists(prices(), min_size=1, max_size=3)), sorted(classes), draw(tokens), draw(st.integers(1, 5000))


def draw_usage(data, prices, classes, input_tokens, max_tokens):
    """A price and a usage that the call can end with: each model has read the prompt and what those
    before it have written, in whatever classes, and has written max_tokens at most."""
    names = [f"model-{number}" for number in range(len(prices))]
    attempts, written = [], 0
    for name in names[: data.draw(st.integers(1, len(names)))]:
        left = data.draw(st.integers(0, input_tokens + written))
        attempt = {"model": name}
        for class_name in classes[:-1]:
            attempt[class_name] = data.draw(st.integers(0, left))
            left -= attempt[class_name]
        attempt |= {classes[-1]: left, "output": data.draw(st.integers(0, max_tokens))}
        written += attempt["output"]
        attempts.append(attempt)
    frozen = {**prices[0], "models": dict(zip(names[1:], prices[1:], strict=True))}
    return frozen, attempts[0] if len(attempts) == 1 else {"attempts": attempts}


@settings(database=None)
@given(call=calls(), data=st.data())
def test_a_hold_covers_all_that_its_tokens_can_cost(call, data):
    prices, classes, input_tokens, max_tokens = call
    bound = pricing.bound(prices, input_tokens, classes, max_tokens)
    amount = pricing.hold_size(bound, max_tokens, LEAST_MAX_TOKENS).amount

    assert pricing.charge(*draw_usage(data, prices, classes, input_tokens, max_tokens)) <= amount


@settings(database=None)
@given(call=calls(), data=st.data())
def test_a_smaller_hold_covers_the_tokens_that_it_affords(call, data):
    prices, classes, input_tokens, max_tokens = call
    bound = pricing.bound(prices, input_tokens, classes, max_tokens)
    size = pricing.hold_size(bound, max_tokens, LEAST_MAX_TOKENS)
    amount = data.draw(st.integers(size.min_amount, size.amount))

    affordable = pricing.affordable_max_tokens(bound, max_tokens, amount)

    assert min(LEAST_MAX_TOKENS, max_tokens) <= affordable <= max_tokens
    assert pricing.charge(*draw_usage(data, prices, classes, input_tokens, affordable)) <= amount


@settings(database=None)
@given(call=calls())
def test_the_whole_hold_affords_all_that_was_asked_for(call):
    prices, classes, input_tokens, max_tokens = call
    bound = pricing.bound(prices, input_tokens, classes, max_tokens)
    amount = pricing.hold_size(bound, max_tokens, LEAST_MAX_TOKENS).amount

    assert pricing.affordable_max_tokens(bound, max_tokens, amount) == max_tokens


@settings(database=None)
@given(call=calls())
def test_the_dearest_way_of_a_call_without_fallbacks_costs_the_whole_hold(call):
    """The bound is not only enough: without fallbacks it is no credit too much."""
    prices, classes, input_tokens, max_tokens = call
    size = pricing.hold_size(pricing.bound(prices[:1], input_tokens, classes, max_tokens), max_tokens, 1)
    ways = [{name: input_tokens, "output": max_tokens} for name in classes]

    assert max(pricing.charge(prices[0], usage) for usage in ways) == size.amount


def test_the_bound_by_hand():
    cheap, dear = price(input=1, cache_read=9, output=10), price(input=2, output=30)

    assert pricing.bound([cheap], 100, ["input"], 50) == Bound(100, 10)
    assert pricing.bound([cheap], 100, INPUT_CLASSES, 50) == Bound(900, 10)
    # The second model reads up to 50 tokens of the first beside the prompt.
    assert pricing.bound([cheap, dear], 100, ["input"], 50) == Bound(300, 10 + 30 + 2)
    # And that, too, can lift its prompt into a tier.
    assert pricing.bound([LONG, LONG], 100, ["input"], 1) == Bound(600_000_000, 11_000_000)


def test_output_that_costs_nothing_is_not_limited():
    assert pricing.affordable_max_tokens(pricing.bound([price(input=5)], 100, ["input"], 4096), 4096, 0) == 4096


def test_a_hold_below_the_least_worth_having_is_asked_for_whole():
    bound = Bound(0, 1_000_000)

    assert pricing.hold_size(bound, 255, 256) == HoldSize(255, 255)
    assert pricing.hold_size(bound, 300, 256) == HoldSize(300, 256)


# the price book


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
    rows = [PriceRow(pattern, at, credits and {"input": credits}) for pattern, at, credits in rows]
    assert price_of(rows, model, NOW) == (None if found is None else {"input": found})


def test_current_rows_are_those_in_force_and_those_to_come():
    rows = [
        PriceRow(pattern, at, {})
        for pattern, at in [("b", LATER), ("*", NOW), ("b", EARLIER), ("*", EARLIER), ("b", NOW), ("c", LATER)]
    ]

    assert [row[:2] for row in current(rows, NOW)] == [("*", NOW), ("b", NOW), ("b", LATER), ("c", LATER)]
    assert current([], NOW) == []


def test_the_shipped_book_charges_a_credit_a_token(db):
    (row,) = book(db)
    assert (row.pattern, row.price) == ("*", dict.fromkeys(CLASSES, 1_000_000))
