"""Licenses and their keys."""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from ..problems import Problem

_FIND = text("SELECT * FROM obol.find_license(:license_id, :digest)")
_CHECK = text("SELECT * FROM obol.check_license(:license_id, :digest)")
_LIST_ENTRIES = text("SELECT * FROM obol.list_entries(:license_id, :digest, :before, :limit)")
_CREATE = text(
    "SELECT * FROM obol.create_license(:license_id, :digest, :name, CAST(:expires_at AS timestamptz), "
    ":credits, :fingerprint)"
)
_SET_STATUS = text("SELECT * FROM obol.set_license_status(:license_id, :status)")
_SET = text(
    "SELECT * FROM obol.set_license(:license_id, :name, CAST(:expires_at AS timestamptz), CAST(:allow_past AS boolean))"
)
_ROTATE = text("SELECT * FROM obol.rotate_license_key(:license_id, :digest, :overlap_s)")
_COLUMNS = "license_id, name, status, expires_at, balance, held, available"
_OVERVIEW = text(f"SELECT {_COLUMNS} FROM obol.license_overview ORDER BY created_at, license_id")
_SHOW = text(f"SELECT {_COLUMNS} FROM obol.license_overview WHERE license_id = :license_id")


class License(NamedTuple):
    """A license; `status` is active, suspended or expired."""

    license_id: UUID
    name: str
    status: str
    expires_at: datetime | None
    balance: int
    held: int
    available: int


class CreatedLicense(NamedTuple):
    """`created` is false when an earlier call made the license, with another key."""

    license_id: UUID
    balance: int
    created: bool


class Entry(NamedTuple):
    """A ledger entry, as the statement has it."""

    entry_no: int
    kind: str
    amount: int
    balance_after: int
    cause_id: UUID
    reference: str | None
    model: str | None
    usage: dict[str, Any] | None
    created_at: datetime


def find(db: Database, key: KeyDigest) -> License:
    """The license that a key opens.

    Raises: Problem license_invalid.
    """
    return License._make(db.row(_FIND, license_id=key.license_id, digest=key.digest))


def check(db: Database, key: KeyDigest) -> None:
    """That a key opens a license that may be used now. Raises: Problem license_*."""
    db.row(_CHECK, license_id=key.license_id, digest=key.digest)


def list_entries(db: Database, key: KeyDigest, *, before: int | None, limit: int) -> list[Entry]:
    """Entries numbered below `before`, newest first.

    Raises: Problem license_invalid.
    """
    rows = db.rows(_LIST_ENTRIES, license_id=key.license_id, digest=key.digest, before=before, limit=limit)
    return [Entry._make(row) for row in rows]


def create(
    db: Database,
    key: KeyDigest,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    credits: int = 0,
    fingerprint: bytes = b"",
) -> CreatedLicense:
    """Make a license, once an id.

    Raises: Problem amount_invalid, idempotency_key_reused.
    """
    row = db.row(
        _CREATE,
        license_id=key.license_id,
        digest=key.digest,
        name=name,
        expires_at=expires_at,
        credits=credits,
        fingerprint=fingerprint,
    )
    return CreatedLicense._make(row)


def set_status(db: Database, license_id: UUID, status: str) -> None:
    """`status` is active or suspended. Raises: Problem license_invalid."""
    db.row(_SET_STATUS, license_id=license_id, status=status)


def set_license(
    db: Database,
    license_id: UUID,
    *,
    name: str | None = None,
    expires_at: datetime | Literal["never"] | None = None,
    allow_past: bool = False,
) -> None:
    """Rename or renew a license; None leaves things as they are. `allow_past`: it may end at once.

    Raises: Problem license_invalid, amount_invalid, for a time that is past.
    """
    db.row(
        _SET,
        license_id=license_id,
        name=name,
        expires_at="infinity" if expires_at == "never" else expires_at,
        allow_past=allow_past,
    )


def rotate_key(db: Database, key: KeyDigest, overlap_s: int) -> datetime:
    """Add a key; returns when the keys before it end. Raises: Problem license_invalid."""
    (ends_at,) = db.row(_ROTATE, license_id=key.license_id, digest=key.digest, overlap_s=overlap_s)
    assert isinstance(ends_at, datetime)
    return ends_at


def overview(db: Database) -> list[License]:
    """Every license, oldest first."""
    return [License._make(row) for row in db.rows(_OVERVIEW)]


def show(db: Database, license_id: UUID) -> License:
    """One license, by id. Raises: Problem license_invalid."""
    for row in db.rows(_SHOW, license_id=license_id):
        return License._make(row)
    raise Problem("license_invalid", f"There is no license {license_id}.")
