"""Entries that leave the tables for files: which, and what is kept of them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from .admin import OWNER

_DUE = text("SELECT * FROM obol.due_archives(:before, CAST(:after AS uuid), :limit)")
_PREPARE = text(
    "SELECT * FROM obol.prepare_archive(:license_id, :before, :most, :with_undelivered, :token_digest, :request_id)"
)
_LINES = text("SELECT * FROM obol.archive_lines(:license_id, :first, :last)")
_ARCHIVE = text("SELECT obol.archive_entries(:license_id, :last, :file_digest, :token_digest, :request_id)")
_LIST = text("SELECT * FROM obol.list_archived(CAST(:after AS uuid), :limit)")
_FILES = text("SELECT * FROM obol.list_archive_files(:license_id)")
_SUMS = text("SELECT * FROM obol.show_sums(:license_id)")

# How many licenses are listed at once.
PAGE = 1000

# Entries of a file: they are deleted in one transaction, some tenths of a second under their license's lock.
MOST = 5000


class Wanted(NamedTuple):
    """Entries of before a time, about `most` at once; also charges whose answers are not known to have arrived?"""

    before: datetime
    most: int = MOST
    with_undelivered: bool = False


class Numbers(NamedTuple):
    """Entries of a license, by their numbers, both included."""

    first_entry_no: int
    last_entry_no: int


class Archived(NamedTuple):
    """How far a license is archived: the balance after the last entry, and the digest over those of its files."""

    license_id: UUID
    last_entry_no: int
    balance: int
    digest: bytes


class ArchivedFile(NamedTuple):
    """A file of a license's archived entries, and its SHA-256."""

    first_entry_no: int
    last_entry_no: int
    file_digest: bytes


class Sums(NamedTuple):
    """What is kept of archived entries, lists of lists: by day, as usage, by grant, and by grant of a payment
    (obol.show_sums)."""

    days: list[list[Any]]
    usage: list[list[Any]]
    grants: list[list[Any]]
    payments: list[list[Any]]


def due(db: Database, before: datetime) -> Iterator[UUID]:
    """Licenses that have entries of before a time."""
    after = None
    while True:
        page = [license_id for (license_id,) in db.rows(_DUE, before=before, after=after, limit=PAGE)]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1]


def prepare(db: Database, license_id: UUID, wanted: Wanted) -> Numbers | None:
    """Which entries of a license are to be archived next; None: none.

    Raises: Problem license_invalid (no such license).
    """
    rows = db.rows(_PREPARE, license_id=license_id, **wanted._asdict(), **OWNER._asdict())
    return Numbers._make(rows[0]) if rows else None


def lines(db: Database, license_id: UUID, numbers: Numbers) -> list[str]:
    """Entries and what belongs to them, as the lines of their file."""
    first, last = numbers
    return [line for (line,) in db.rows(_LINES, license_id=license_id, first=first, last=last)]


def archive(db: Database, license_id: UUID, *, last_entry_no: int, file_digest: bytes) -> bool:
    """Take the entries up to `last_entry_no` out of the tables, which are in a file of this SHA-256; False, and
    nothing is done: they have changed since.

    Raises: Problem license_invalid (no such license).
    """
    (is_archived,) = db.row(
        _ARCHIVE, license_id=license_id, last=last_entry_no, file_digest=file_digest, **OWNER._asdict()
    )
    return bool(is_archived)


def archived(db: Database) -> Iterator[Archived]:
    """Every license of which something is archived, by its id."""
    after = None
    while True:
        page = [
            Archived(license_id, last_entry_no, balance, bytes(digest))
            for license_id, last_entry_no, balance, digest in db.rows(_LIST, after=after, limit=PAGE)
        ]
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].license_id


def files(db: Database, license_id: UUID) -> list[ArchivedFile]:
    """The files of a license's archived entries, in the order of these."""
    return [ArchivedFile(first, last, bytes(digest)) for first, last, digest in db.rows(_FILES, license_id=license_id)]


def sums(db: Database, license_id: UUID) -> Sums:
    """What is kept of a license's archived entries."""
    return Sums._make(db.row(_SUMS, license_id=license_id))
