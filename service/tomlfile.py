"""What files of prices and of packages share: TOML text in, its entries looked at. Pure."""

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any


class TomlFileError(Exception):
    """What is wrong with a file, where, and what is right."""


def load(text: str) -> dict[str, Any]:
    """What a file says, with its decimals as they are written. Raises: TomlFileError."""
    try:
        return tomllib.loads(text, parse_float=Decimal)
    except ValueError as error:
        raise TomlFileError(f"It is not TOML: {error}.") from error
    except RecursionError as error:
        raise TomlFileError("It is nested too deeply.") from error


def whole(where: str, value: Any, *, least: int, most: int, hint: str = "") -> int:
    """A whole number; `hint`: what more to say of another. Raises: TomlFileError."""
    if type(value) is not int or not least <= value <= most:
        raise TomlFileError(f"{where} must be a whole number from {least} to {most}, without quotes{hint}.")
    return value


def tables(where: str, table: Mapping[str, Any], name: str, *, heading: str) -> list[dict[str, Any]]:
    """The tables that are called so; `heading`: what stands above each. Raises: TomlFileError."""
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise TomlFileError(f"{where}: {name} must be tables; write [[{heading}]] above each.")
    return found


def needed(where: str, table: Mapping[str, Any], name: str, *, hint: str = "") -> Any:
    """A field that has to be there. Raises: TomlFileError."""
    if name not in table:
        raise TomlFileError(f"{where}: {name} is missing{hint}.")
    return table[name]


def only(where: str, table: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse a field that is not one of these. Raises: TomlFileError."""
    for name in table:
        if name not in names:
            raise TomlFileError(f"{where}: {name!r} is not known there; these are: {', '.join(names)}.")


def once(names: Iterable[str]) -> None:
    """Refuse what is named twice. Raises: TomlFileError."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise TomlFileError(f"the file: {name} stands there twice; leave one.")
        seen.add(name)
