"""The price book."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from ..db import Database
from ..pricing import Price
from .admin import OWNER, Actor

_LIST = text("SELECT * FROM obol.list_prices()")
_SET = text(
    "SELECT * FROM obol.set_prices_v2(CAST(:rows AS jsonb), :dry_run, :token_digest, :request_id) "
    "ORDER BY model_pattern, effective_from"
)


class PriceRow(NamedTuple):
    """One line of the price book: `pattern` is a model's name, or its beginning and `*`; without a
    price, what it names is not sold from then on. `read_at` is the database's time."""

    pattern: str
    effective_from: datetime
    price: Price | None
    read_at: datetime


class PriceChange(NamedTuple):
    """What was in force for a pattern from a time on, and what is now; None: not sold."""

    model_pattern: str
    effective_from: datetime
    before: Price | None
    after: Price | None


def book(db: Database) -> list[PriceRow]:
    """Every row of the price book, in no order."""
    return [PriceRow._make(row) for row in db.rows(_LIST)]


def current(rows: Iterable[PriceRow]) -> list[PriceRow]:
    """The rows that were in force when they were read, each for its pattern, and those to come; by pattern
    and time."""
    kept: list[PriceRow] = []
    for row in sorted(rows, key=lambda row: (row.pattern, row.effective_from)):
        if kept and kept[-1].pattern == row.pattern and row.effective_from <= row.read_at:
            kept.pop()
        kept.append(row)
    return kept


def set_prices(
    db: Database,
    rows: Iterable[tuple[str, datetime | None, Price | None]],
    *,
    dry_run: bool = False,
    actor: Actor = OWNER,
) -> list[PriceChange]:
    """Write prices, all or none: of a pattern, from a time on (None: now), or None to end the pattern.

    Returns what changes, by pattern. What the book says already is not among it.

    Raises: Problem admin_forbidden, amount_invalid, for a time that is past.
    """
    documents = [
        {
            "model_pattern": pattern,
            "effective_from": None if effective_from is None else effective_from.isoformat(),
            "price": None if price is None else dict(price),
        }
        for pattern, effective_from, price in rows
    ]
    rows_set = db.rows(_SET, rows=json.dumps(documents), dry_run=dry_run, **actor._asdict())
    return [PriceChange._make(row) for row in rows_set]
