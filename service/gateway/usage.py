"""What an answer used: from the `usage` of the Messages API to tokens of each class.

Pure. Source: the `usage` objects of messages, of `message_start` and `message_delta`. Input to
charge is input + cache writes + cache reads; thinking is inside `output_tokens`.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..pricing import CLASSES, Price, Usage, charge

# Far above any model's context, and low enough that no price makes it overflow a bigint.
MOST_TOKENS = 10**9

# Ends the id of a snapshot of a model: claude-haiku-4-5-20251001.
_DATE = re.compile(r"-\d{8}$")


def merge_usage(before: Mapping[str, Any], after: object) -> dict[str, Any]:
    """Add to the usage of a stream what its next event says. Events tell sums: a figure replaces the
    one before, and one that is left out keeps its value."""
    said = after.items() if isinstance(after, Mapping) else ()
    return {**before, **{name: value for name, value in said if value is not None}}


def read_usage(wire: object, *, answered_by: str, models: Sequence[str], price: Price) -> Usage | None:
    """Tokens of each class, or None when the answer does not say: then nothing can be charged.

    Args:
        wire: the `usage` object of a message.
        answered_by: the message's `model`.
        models: the one that was asked for, then those that may answer in its place. With such
            fallbacks each attempt is charged at its own model's price: `{"attempts": [{"model", classes…}]}`.
        price: what the attempts will be charged at.
    """
    if not isinstance(wire, Mapping):
        return None
    # The figures beside the iterations are those of the last attempt alone.
    iterations = wire.get("iterations") or [{**wire, "model": answered_by}]
    if not isinstance(iterations, list):
        return None
    attempts = []
    for number, iteration in enumerate(iterations, start=1):
        counts = _classes(iteration)
        if counts is None:
            return None
        # One that declined before any output is reported and not billed; the last one answered.
        if counts["output"] or number == len(iterations):
            attempts.append(
                counts if len(models) == 1 else _name(counts, iteration.get("model"), models=models, price=price)
            )
    return attempts[0] if len(attempts) == 1 and "model" not in attempts[0] else {"attempts": attempts}


def count_tokens(usage: Usage) -> int:
    """The tokens of all classes, in all attempts."""
    return sum(attempt[name] for attempt in usage.get("attempts", (usage,)) for name in CLASSES)


def count_unpriced(wire: object) -> dict[str, int]:
    """How often each server tool ran. The upstream bills these apart from tokens; it should not have
    been asked for any."""
    tools = wire.get("server_tool_use") if isinstance(wire, Mapping) else None
    counts = tools.items() if isinstance(tools, Mapping) else ()
    return {name: count for name, count in counts if type(count) is int and count > 0}


def _name(counts: dict[str, Any], ran_on: object, *, models: Sequence[str], price: Price) -> dict[str, Any]:
    """An attempt under the name that the request gave its model: the answer may report a dated id.
    Under a name that the request does not have it is the dearest of its models; the hold covers it."""
    undated = _DATE.sub("", ran_on) if isinstance(ran_on, str) else None
    named = [{"model": name, **counts} for model in (ran_on, undated) for name in models if name == model]
    return named[0] if named else max(({"model": name, **counts} for name in models), key=partial(charge, price))


def _classes(wire: object) -> dict[str, Any] | None:
    if not isinstance(wire, Mapping):
        return None
    split = wire.get("cache_creation")
    split = split if isinstance(split, Mapping) else {}
    written = wire.get("cache_creation_input_tokens") or 0
    written_1h = split.get("ephemeral_1h_input_tokens") or 0
    written_5m = split.get("ephemeral_5m_input_tokens") or 0
    if type(written) is int and type(written_1h) is int and type(written_5m) is int:
        # What the split leaves out was written all the same, for five minutes as by default.
        written_5m = max(written_5m, written - written_1h)
    counts = {
        "input": wire.get("input_tokens"),
        "output": wire.get("output_tokens"),
        "cache_write_5m": written_5m,
        "cache_write_1h": written_1h,
        "cache_read": wire.get("cache_read_input_tokens") or 0,
    }
    if not all(type(count) is int and 0 <= count <= MOST_TOKENS for count in (*counts.values(), written)):
        return None
    return counts
