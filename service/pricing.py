"""From usage and price to credits. Pure: integers in, integers out, one rounding, upwards.

A price is credits per million tokens for each class of token, with tiers where a long prompt is
dearer; a usage is measured tokens of each class. `obol.charge_for` in SQL computes the same, and
`obol verify` compares. Both are plain JSON objects:

    price  {"input": 3000000, "output": …, "cache_write_5m": …, "cache_write_1h": …, "cache_read": …,
            "tiers": [{"above_input_tokens": 100000, "input": …, …}],   # optional, ascending
            "models": {"claude-x": {"input": …, …}}}                    # optional: of fallbacks
    usage  {"input": 23, "output": 10, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}
           {"attempts": [{"model": "claude-x", "input": 23, …}, …]}     # a call that fell back
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

# What a prompt is charged as; a tier goes by their sum.
INPUT_CLASSES = ("input", "cache_write_5m", "cache_write_1h", "cache_read")
CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")

Price = Mapping[str, Any]
Usage = Mapping[str, Any]

MILLION = 1_000_000

# Below this many output tokens an answer is hardly worth having: max_tokens is lowered to what
# the balance affords, but not below this (or what was asked for, if that is less).
LEAST_MAX_TOKENS = 256


class PriceRow(NamedTuple):
    """One line of the price book: `pattern` is a model's name, or its beginning and `*`; without a
    price, what it names is not sold from then on."""

    pattern: str
    effective_from: datetime
    price: Price | None


class Bound(NamedTuple):
    """What a call can cost at most, in millionths of a credit: `fixed` for everything that does not
    depend on max_tokens, and `per_output_token` for each token that max_tokens allows."""

    fixed: int
    per_output_token: int


class HoldSize(NamedTuple):
    """Credits to set aside for a call, and the least with which it is worth making."""

    amount: int
    min_amount: int


def price_of(book: Iterable[PriceRow], model: str, at: datetime) -> Price | None:
    """The price in force at a time: the longest pattern that fits, then the newest row."""

    def fits(pattern: str) -> bool:
        return model.startswith(pattern[:-1]) if pattern.endswith("*") else model == pattern

    rows = [row for row in book if row.effective_from <= at and fits(row.pattern)]
    if not rows:
        return None
    # An exact name outranks every prefix that fits.
    return max(rows, key=lambda row: (not row.pattern.endswith("*"), len(row.pattern), row.effective_from)).price


def tier_of(price: Price, input_tokens: int) -> Price:
    """The figures for a prompt of this many tokens, cache writes and reads included: those of the
    last tier that it is above. They are for every token of the call, output too."""
    tiers = [tier for tier in price.get("tiers", ()) if tier["above_input_tokens"] < input_tokens]
    return max(tiers, key=lambda tier: tier["above_input_tokens"], default=price)


def charge(price: Price, usage: Usage) -> int:
    """Credits for a usage: the sum of tokens x price over the classes, rounded up once.

    Under fallback each attempt is charged at the price of its own model and its own tier."""
    millionths = 0
    for attempt in usage.get("attempts", (usage,)):
        own = price.get("models", {}).get(attempt.get("model"), price)
        figures = tier_of(own, sum(attempt.get(name, 0) for name in INPUT_CLASSES))
        millionths += sum(figures[name] * attempt.get(name, 0) for name in CLASSES)
    return _credits(millionths)


def bound(prices: Iterable[Price], input_tokens: int, classes: Collection[str], max_tokens: int) -> Bound:
    """The most that a call can cost.

    Args:
        prices: of the model and of each fallback, in the order in which they would be tried.
        input_tokens: what the prompt cannot exceed.
        classes: the input classes that the prompt can be charged as; the dearest counts.
        max_tokens: asked for; a longer prompt may fall in a dearer tier.
    """
    fixed = per_output_token = 0
    for tried_before, price in enumerate(prices):
        # A fallback reads what the models before it have written.
        carried = tried_before * max_tokens
        figures = tier_of(price, input_tokens + carried)
        dearest = max(figures[name] for name in classes)
        fixed += dearest * input_tokens
        per_output_token += figures["output"] + dearest * tried_before
    return Bound(fixed, per_output_token)


def hold_size(bound: Bound, max_tokens: int, least: int) -> HoldSize:
    """Credits for all of max_tokens, and for the least of them worth having."""
    return HoldSize(
        _credits(bound.fixed + bound.per_output_token * max_tokens),
        _credits(bound.fixed + bound.per_output_token * min(least, max_tokens)),
    )


def affordable_max_tokens(bound: Bound, max_tokens: int, amount: int) -> int:
    """The output tokens that a hold of `amount` credits covers, at most `max_tokens`."""
    if bound.per_output_token == 0:
        return max_tokens
    return min(max_tokens, (amount * MILLION - bound.fixed) // bound.per_output_token)


def _credits(millionths: int) -> int:
    return -(-millionths // MILLION)
