"""What a license used, as it is told to whoever may read it: statements as files, usage by day, receipts."""

import csv
import io
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from . import pricing, strict_json
from .db import Database
from .problems import Problem
from .repository import usage
from .repository.usage import DIMENSIONS, FIGURES, Entry, Reader, Receipt, UsageRow

# What can be asked for by day; there is nothing before, and each day is a row.
FIRST_DAY = date(2020, 1, 1)
LAST_DAY = date(2999, 12, 31)
MAX_DAYS = 366

COLUMNS = (
    *("entry_no", "created_at", "kind", "amount", "balance_after", "id", "reference", "model", "key_id"),
    *(f"{name}_tokens" for name in pricing.CLASSES),
)

# A spreadsheet takes a cell that begins so for a formula, and runs it; references are their writers' to choose.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


class Usage(NamedTuple):
    """What was used from a day (UTC) to another, both included, and the sums of all rows."""

    first: date
    last: date
    rows: list[UsageRow]
    total: dict[str, int]


def days(first: date | None, last: date | None) -> tuple[date, date]:
    """The days (UTC) that are asked for, by default the thirty up to today.

    Raises: Problem validation_failed.
    """
    last = last or datetime.now(UTC).date()
    first = first or max(FIRST_DAY, last - timedelta(days=29))
    if not first <= last < first + timedelta(days=MAX_DAYS):
        raise Problem(
            "validation_failed", f"From {first} to {last}: it must be 1 to {MAX_DAYS} days, and begin before it ends."
        )
    return first, last


def last_days(count: int) -> tuple[date, date]:
    """So many days (UTC), of which the last is today."""
    today = datetime.now(UTC).date()
    return today - timedelta(days=count - 1), today


def usage_of(
    db: Database,
    reader: Reader,
    *,
    first: date | None = None,
    last: date | None = None,
    by: tuple[str, ...] = DIMENSIONS,
) -> Usage:
    """What a license used, by what `by` names of DIMENSIONS.

    Raises: Problem license_invalid, admin_forbidden, validation_failed.
    """
    first, last = days(first, last)
    rows = usage.usage(db, reader, first=first, last=last, by=by)
    return Usage(first, last, rows, {name: sum(getattr(row, name) for row in rows) for name in FIGURES})


def credits_by_day(found: Usage) -> Iterator[tuple[date, int]]:
    """What was used on each day that was asked for, also on those on which nothing was."""
    used = {row.day: row.credits for row in found.rows}
    for n in range((found.last - found.first).days + 1):
        day = found.first + timedelta(days=n)
        yield day, used.get(day, 0)


def as_csv(batches: Iterable[list[Entry]]) -> Iterator[bytes]:
    """A statement as RFC 4180 has tables: a line of COLUMNS, and one for each entry."""
    yield _lines([COLUMNS])
    for batch in batches:
        yield _lines(map(_cells, batch))


def usage_as_csv(found: Usage) -> Iterator[bytes]:
    """What was used as a table, without the sums."""
    yield _lines([UsageRow._fields])
    yield _lines((row.day, _defused(row.model), *row[2:]) for row in found.rows)


def as_ndjson(batches: Iterable[list[Entry]]) -> Iterator[bytes]:
    """A statement as lines of JSON."""
    for batch in batches:
        yield b"".join(strict_json.encode(entry_document(entry)) + b"\n" for entry in batch)


def entry_document(entry: Entry) -> dict[str, Any]:
    """An entry as it is written in JSON."""
    return {
        "entry_no": entry.entry_no,
        "kind": entry.kind,
        "amount": entry.amount,
        "balance_after": entry.balance_after,
        "id": str(entry.cause_id),
        "reference": entry.reference,
        "model": entry.model,
        "key_id": None if entry.key_id is None else str(entry.key_id),
        "usage": entry.usage,
        "created_at": _moment(entry.created_at),
    }


def receipt(db: Database, reader: Reader, cause_id: UUID) -> dict[str, Any]:
    """The receipt of a charge (`cause_id`: of its hold) or of a deduction, as it is written in JSON.

    `calculation` says how the charge is made up: for each attempt and class its tokens, the price for a million of
    them, and the product in millionths of a credit; then the sum, and the sum rounded up. None where nothing was
    measured: for deductions, and for what clients settle themselves.

    Raises: Problem license_invalid, admin_forbidden, hold_not_found.
    """
    found = usage.receipt(db, reader, cause_id)
    hold = {
        "amount": found.hold_amount,
        "opened_at": _moment(found.opened_at),
        "delivered_at": _moment(found.delivered_at),
    }
    return {
        "id": str(found.cause_id),
        "kind": found.kind,
        "entry_no": found.entry_no,
        "created_at": _moment(found.created_at),
        "charged": found.charged,
        "shortfall": found.shortfall,
        "refunded": found.refunded,
        "balance_after": found.balance_after,
        "reference": found.reference,
        "model": found.model,
        "key_id": None if found.key_id is None else str(found.key_id),
        "tokens": None if found.usage is None else pricing.tokens_of(found.usage),
        "price": found.price,
        "calculation": _calculation(found),
        "hold": None if found.hold_amount is None else hold,
        "grants": found.draws,
        "refunds": [
            refund | {"created_at": _moment(datetime.fromisoformat(refund["created_at"]))} for refund in found.refunds
        ],
    }


def _calculation(found: Receipt) -> dict[str, Any] | None:
    if found.price is None or found.usage is None:
        return None
    items = pricing.itemise(found.price, found.usage)
    lines = [
        {
            "model": item.model or found.model,
            "above_input_tokens": item.above_input_tokens,
            "class": name,
            "tokens": item.tokens[name],
            "credits_per_million_tokens": item.figures[name],
            "millionths": item.tokens[name] * item.figures[name],
        }
        for item in items
        for name in pricing.CLASSES
        if item.tokens[name]
    ]
    millionths = sum(item.millionths for item in items)
    return {"lines": lines, "millionths": millionths, "credits": pricing.round_up(millionths)}


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue().encode()


def _cells(entry: Entry) -> list[object]:
    tokens = dict.fromkeys(pricing.CLASSES) if entry.usage is None else pricing.tokens_of(entry.usage)
    return [
        entry.entry_no,
        _moment(entry.created_at),
        entry.kind,
        entry.amount,
        entry.balance_after,
        entry.cause_id,
        _defused(entry.reference),
        _defused(entry.model),
        entry.key_id,
        *tokens.values(),
    ]


def _defused(text: str | None) -> str | None:
    return f"'{text}" if text is not None and text.startswith(_FORMULA) else text


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
