"""From usage and price to the charge. Pure: integers in, integers out, one rounding, upwards.

A price is credits per million tokens for each class of token, with tiers where a long prompt is
dearer; a usage is measured tokens of each class. `obol.charge_for` in SQL computes the same, and
`obol verify` compares. Both are plain JSON objects:

    price  {"input": 3000000, "output": …, "cache_write_5m": …, "cache_write_1h": …, "cache_read": …,
            "tiers": [{"above_input_tokens": 100000, "input": …, …}],   # optional, ascending
            "models": {"claude-x": {"input": …, …}}}                    # optional: of fallbacks
    usage  {"input": 23, "output": 10, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}
           {"attempts": [{"model": "claude-x", "input": 23, …}, …]}     # a call that fell back
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

# What a prompt is charged as; a tier goes by their sum.
INPUT_CLASSES = ("input", "cache_write_5m", "cache_write_1h", "cache_read")
CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")

Price = Mapping[str, Any]
Usage = Mapping[str, Any]

MILLION = 1_000_000


def tier_of(price: Price, input_tokens: int) -> Price:
    """The figures for a prompt of this many tokens, cache writes and reads included: those of the
    last tier that it is above. They are for every token of the call, output too."""
    tiers = [tier for tier in price.get("tiers", ()) if tier["above_input_tokens"] < input_tokens]
    return max(tiers, key=lambda tier: tier["above_input_tokens"], default=price)


class Item(NamedTuple):
    """An attempt of a call, and what it is charged as: `figures` are credits per million tokens of each class, of the
    tier above `above_input_tokens` (None: the price without tiers), and `tokens` those of each class."""

    model: str | None
    above_input_tokens: int | None
    tokens: dict[str, int]
    figures: dict[str, int]

    @property
    def millionths(self) -> int:
        return sum(self.figures[name] * self.tokens[name] for name in CLASSES)


def itemise(price: Price, usage: Usage) -> list[Item]:
    """How a charge is made up. Under fallback each attempt is charged at the price of its own model and its own
    tier."""
    items = []
    for attempt in usage.get("attempts", (usage,)):
        model = attempt.get("model")
        tokens = {name: attempt.get(name, 0) for name in CLASSES}
        own = tier_of(price.get("models", {}).get(model, price), sum(tokens[name] for name in INPUT_CLASSES))
        items.append(Item(model, own.get("above_input_tokens"), tokens, {name: own[name] for name in CLASSES}))
    return items


def tokens_of(usage: Usage) -> dict[str, int]:
    """The tokens of each class, of all attempts together."""
    attempts = usage.get("attempts", (usage,))
    return {name: sum(attempt.get(name, 0) for attempt in attempts) for name in CLASSES}


def charge(price: Price, usage: Usage) -> int:
    """Credits for a usage: the sum of tokens x price over the classes and attempts, rounded up once."""
    return round_up(sum(item.millionths for item in itemise(price, usage)))


def round_up(millionths: int) -> int:
    """Credits for millionths of a credit."""
    return -(-millionths // MILLION)
