"""Digests of what never changes: a license's entries, and the acts of the audit trail."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database

_LIST_HEADS = text("SELECT * FROM obol.list_heads(CAST(:after AS uuid), :limit)")
_DIGEST_ENTRIES = text("SELECT * FROM obol.digest_entries(:license_id, :after, :through, :blocks, :state)")
_DIGEST_ACTS = text("SELECT * FROM obol.digest_acts(:after, :through, :blocks, :state)")
_SETTLE_ACTS = text("SELECT obol.settle_acts()")

# How many licenses are listed at once, and how many blocks of a thousand rows are digested by one statement.
PAGE = 1000
BLOCKS = 50


class Head(NamedTuple):
    """How many entries a license has, and how many of them are of before the audit trail."""

    license_id: UUID
    entries: int
    unaudited: int


class Digest(NamedTuple):
    """A digest up to the number `through`, and the `total` of the rows that are in it."""

    state: bytes
    through: int
    total: int


def heads(db: Database) -> Iterator[Head]:
    """Every license, by its id."""
    after = None
    while True:
        page = [Head._make(row) for row in db.rows(_LIST_HEADS, after=after, limit=PAGE)]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].license_id


def settle_acts(db: Database) -> int:
    """The number up to which the audit trail is complete; 0 while it is empty.

    Raises: Problem database_error, when an act that is on its way takes longer than 5 s.
    """
    (through,) = db.row(_SETTLE_ACTS)
    return int(through)


def digest_entries(db: Database, license_id: UUID, through: int, *, state: bytes) -> Iterator[Digest]:
    """The digest of a license's entries 1 to `through`, piece by piece; the last one is of all of them."""
    done = Digest(state, 0, 0)
    while done.through < through:
        row = db.row(
            _DIGEST_ENTRIES,
            license_id=license_id,
            after=done.through,
            through=through,
            blocks=BLOCKS,
            state=done.state,
        )
        done = _sum(done, row)
        yield done


def digest_acts(db: Database, through: int, *, state: bytes) -> Iterator[Digest]:
    """The same of the acts up to the number `through`."""
    done = Digest(state, 0, 0)
    while done.through < through:
        done = _sum(done, db.row(_DIGEST_ACTS, after=done.through, through=through, blocks=BLOCKS, state=done.state))
        yield done


def _sum(before: Digest, row: Sequence[Any]) -> Digest:
    state, through, total = row
    return Digest(bytes(state), through, before.total + total)
