"""From usage and price to credits. Pure: integers in, integers out, one rounding, upwards.

A price is credits per million tokens for each class of token; a usage is measured tokens of
each class. `obol.charge_for` in SQL computes the same, and `obol verify` compares.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

CLASSES = ("input", "output", "cache_write_5m", "cache_write_1h", "cache_read")

Price = Mapping[str, int]
Usage = Mapping[str, int]

MILLION = 1_000_000

# What the upstream adds around the text of a plain prompt: roles, turns and its own framing.
# It charges 8 to 20 tokens for these; four times the lower figure leaves room.
FRAMING_TOKENS = 32

# Below this many output tokens an answer is hardly worth having: max_tokens is lowered to what
# the balance affords, but not below this (or what was asked for, if that is less).
LEAST_MAX_TOKENS = 256


class PriceRow(NamedTuple):
    """One line of the price book: `pattern` is a model's name, or its beginning and `*`."""

    pattern: str
    effective_from: datetime
    price: Price


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


def charge(price: Price, usage: Usage) -> int:
    """Credits for a usage: the sum of tokens x price over the classes, rounded up once."""
    return -(-sum(price[name] * usage.get(name, 0) for name in CLASSES) // MILLION)


def input_bound(texts: Iterable[str]) -> int:
    """Tokens that plain texts cannot exceed: a token is one byte of UTF-8 at least."""
    return sum(len(text.encode()) for text in texts) + FRAMING_TOKENS


def hold_size(price: Price, input_tokens: int, max_tokens: int) -> HoldSize:
    """An upper bound of the charge, for all of max_tokens and for the least worth having."""
    least = min(LEAST_MAX_TOKENS, max_tokens)
    return HoldSize(
        charge(price, {"input": input_tokens, "output": max_tokens}),
        charge(price, {"input": input_tokens, "output": least}),
    )


def affordable_max_tokens(price: Price, input_tokens: int, max_tokens: int, amount: int) -> int:
    """The output tokens that a hold of `amount` credits covers, at most `max_tokens`."""
    if price["output"] == 0:
        return max_tokens
    return min(max_tokens, (amount * MILLION - price["input"] * input_tokens) // price["output"])
