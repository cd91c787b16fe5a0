"""A file of prices: TOML text in, rows for the price book out. Pure; docs/prices.example.toml
shows the format.

Figures are credits per million tokens. With credits_per_usd they are US dollars, and
margin_percent is added; each figure is rounded up once, by exact arithmetic.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any, NamedTuple

from . import tomlfile
from .pricing import CLASSES, Price
from .tomlfile import TomlFileError

# The limits of the price book's tables.
MAX_FIGURE = 10**12
MAX_PATTERN = 200
# A price with more is a slip of the hand; and exact arithmetic needs an end.
MAX_DECIMALS = 12

# as_of and source are for people.
_TOP = ("as_of", "source", "credits_per_usd", "margin_percent", "effective_from", "not_sold", "price")
_PRICE = ("model", *CLASSES, "tier")
_TIER = ("above_input_tokens", *CLASSES)


class NewPrice(NamedTuple):
    """A row to set: from a time on (None: now), a price, or None for what is not sold."""

    pattern: str
    effective_from: datetime | None
    price: Price | None


def read(text: str) -> list[NewPrice]:
    """The rows of a file.

    Raises:
        TomlFileError: naming the entry and the field.
    """
    return read_document(tomlfile.load(text))


def read_document(document: Mapping[str, Any]) -> list[NewPrice]:
    """The rows of what such a file says, with its numbers as int or Decimal and its time as a datetime.

    Raises:
        TomlFileError: naming the entry and the field.
    """
    tomlfile.only("the file", document, _TOP)
    factor = _factor(document)
    effective_from = _moment(document)
    prices = [
        (_patterns(f"price {number}", entry), entry)
        for number, entry in enumerate(tomlfile.tables("the file", document, "price", heading="price"), 1)
    ]
    not_sold = _list_of_patterns("the file: not_sold", document.get("not_sold", []))
    tomlfile.once(pattern for patterns in (*(patterns for patterns, _ in prices), not_sold) for pattern in patterns)
    rows = [
        NewPrice(pattern, effective_from, _price(", ".join(patterns), entry, factor))
        for patterns, entry in prices
        for pattern in patterns
    ]
    rows += [NewPrice(pattern, effective_from, None) for pattern in not_sold]
    if not rows:
        raise TomlFileError("the file: it has no price; add a [[price]].")
    return rows


def pattern_error(pattern: Any) -> str | None:
    """Why this is no model pattern, or None when it is one."""
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= MAX_PATTERN or not pattern.isprintable():
        return f"it must be text of 1 to {MAX_PATTERN} printable characters"
    if "*" in pattern[:-1]:
        return "a * may only stand at the end, for every name that begins so"
    return None


def _price(name: str, entry: Mapping[str, Any], factor: Fraction | None) -> Price:
    where = f"the price of {name}"
    tomlfile.only(where, entry, _PRICE)
    price: dict[str, Any] = _figures(where, entry, factor)
    tiers: list[dict[str, int]] = []
    for number, table in enumerate(tomlfile.tables(where, entry, "tier", heading="price.tier"), 1):
        at = f"{where}, tier {number}"
        tomlfile.only(at, table, _TIER)
        above = _whole(f"{at}: above_input_tokens", _needed(at, table, "above_input_tokens"), 1)
        tier = {"above_input_tokens": above} | _figures(at, table, factor)
        below = tiers[-1] if tiers else {"above_input_tokens": 0} | price
        if above <= below["above_input_tokens"]:
            raise TomlFileError(f"{at}: above_input_tokens must be more than in the tier before; sort the tiers.")
        for name in CLASSES:
            if tier[name] < below[name]:
                raise TomlFileError(
                    f"{at}: {name} is {tier[name]} credits and {below[name]} below the tier; "
                    "a longer prompt must not be cheaper, or a hold would not cover a shorter one."
                )
        tiers.append(tier)
    return price | {"tiers": tiers} if tiers else price


def _figures(where: str, table: Mapping[str, Any], factor: Fraction | None) -> dict[str, int]:
    return {name: _credits(f"{where}: {name}", _needed(where, table, name), factor) for name in CLASSES}


def _credits(where: str, value: Any, factor: Fraction | None) -> int:
    if factor is None:
        return _whole(where, value, 0)
    credits = ceil(_number(where, value) * factor)
    if credits > MAX_FIGURE:
        raise TomlFileError(f"{where} makes {credits} credits per million tokens; {MAX_FIGURE} is the most.")
    return credits


def _factor(document: Mapping[str, Any]) -> Fraction | None:
    """Credits for a dollar, with the margin; None when figures are credits."""
    if "credits_per_usd" not in document:
        if "margin_percent" in document:
            raise TomlFileError("the file: margin_percent needs credits_per_usd; figures in credits are final.")
        return None
    credits = _number("the file: credits_per_usd", document["credits_per_usd"])
    if credits == 0:
        raise TomlFileError("the file: credits_per_usd must be more than 0.")
    return credits * (1 + _number("the file: margin_percent", document.get("margin_percent", 0)) / 100)


def _number(where: str, value: Any) -> Fraction:
    if type(value) not in (int, Decimal) or not Decimal(value).is_finite() or not 0 <= value <= MAX_FIGURE:
        raise TomlFileError(f"{where} must be a number from 0 to {MAX_FIGURE}, without quotes.")
    exponent = Decimal(value).as_tuple().exponent
    if isinstance(exponent, int) and exponent < -MAX_DECIMALS:
        raise TomlFileError(f"{where} may have {MAX_DECIMALS} decimals at most.")
    return Fraction(value)


def _whole(where: str, value: Any, least: int) -> int:
    hint = "; for US dollars set credits_per_usd" if isinstance(value, Decimal) else ""
    return tomlfile.whole(where, value, least=least, most=MAX_FIGURE, hint=hint)


def _moment(document: Mapping[str, Any]) -> datetime | None:
    value = document.get("effective_from")
    if value is None:
        return None
    if type(value) is date:
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise TomlFileError("the file: effective_from must be a time without quotes, such as 2026-12-01T00:00:00Z.")
    try:
        return value.replace(tzinfo=value.tzinfo or UTC).astimezone(UTC)
    except OverflowError as error:
        raise TomlFileError("the file: effective_from is out of range; leave it out for now.") from error


def _patterns(where: str, entry: Mapping[str, Any]) -> list[str]:
    """A model pattern, or a list of those that share a price."""
    model = _needed(where, entry, "model")
    patterns = _list_of_patterns(f"{where}: model", model if isinstance(model, list) else [model])
    if not patterns:
        raise TomlFileError(f"{where}: model names nothing.")
    return patterns


def _list_of_patterns(where: str, patterns: Any) -> list[str]:
    if not isinstance(patterns, list):
        raise TomlFileError(f'{where} must be a list, such as ["*"].')
    for pattern in patterns:
        if wrong := pattern_error(pattern):
            raise TomlFileError(f"{where} {pattern!r}: {wrong}.")
    return patterns


def _needed(where: str, table: Mapping[str, Any], name: str) -> Any:
    return tomlfile.needed(where, table, name, hint="; no figure is derived from another")
