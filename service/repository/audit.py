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
    """How many entries a license has, how many of them are of before the audit trail, and how many are archived,
    with the digest of their files (None: no entry is)."""

    license_id: UUID
    entries: int
    unaudited: int
    archived: int
    archived_digest: bytes | None


class Digest(NamedTuple):
    """A digest up to the number `through`, and the `total` of the rows that are in it."""

    state: bytes
    through: int
    total: int


def heads(db: Database) -> Iterator[Head]:
    """Every license, by its id."""
    after = None
    while True:
        page = _heads(db, after, PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].license_id


def head_of(db: Database, license_id: UUID) -> Head:
    """One license, which was there a moment ago."""
    (head,) = _heads(db, UUID(int=license_id.int - 1), 1)
    return head


def _heads(db: Database, after: UUID | None, limit: int) -> list[Head]:
    return [
        Head(license_id, entries, unaudited, archived, None if digest is None else bytes(digest))
        for license_id, entries, unaudited, archived, digest in db.rows(_LIST_HEADS, after=after, limit=limit)
    ]


def settle_acts(db: Database) -> int:
    """The number up to which the audit trail is complete; 0 while it is empty.

    Raises: Problem database_error, when an act that is on its way takes longer than 5 s.
    """
    (through,) = db.row(_SETTLE_ACTS)
    return int(through)


def digest_entries(db: Database, license_id: UUID, through: int, *, state: bytes, after: int = 0) -> Iterator[Digest]:
    """The digest of a license's entries from the one after `after` to `through`, piece by piece; the last one is of all
    of them."""
    done = Digest(state, after, 0)
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
