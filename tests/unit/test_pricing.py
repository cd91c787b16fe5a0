"""Charges: whole numbers, rounded up once, at the price of the prompt's tier and of each attempt's model.

That SQL computes the same is in tests/sql/ledger/test_charge_for.py."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import LONG, prices, tokens, usages

from service import pricing
from service.pricing import CLASSES, INPUT_CLASSES


def price(**classes):
    return dict.fromkeys(CLASSES, 0) | classes


def prompt(usage):
    return sum(usage.get(name, 0) for name in INPUT_CLASSES)


THREE = price(input=3, output=2, cache_write_5m=4, cache_write_1h=5, cache_read=1)
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
