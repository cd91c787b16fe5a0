"""Licenses and their keys."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from ..db import Database
from ..keys import LicenseKey
from ..problems import Problem

_FIND = text("SELECT * FROM obol.find_license(:license_id, :digest)")
_CHECK = text("SELECT obol.check_license(:license_id, :digest)")
_LIST_ENTRIES = text("SELECT * FROM obol.list_entries(:license_id, :digest, :before, :limit)")
_CREATE = text(
    "SELECT * FROM obol.create_license(:license_id, :digest, :name, CAST(:expires_at AS timestamptz), "
    ":credits, :fingerprint)"
)
_SET_STATUS = text("SELECT obol.set_license_status(:license_id, :status)")
_ROTATE = text("SELECT obol.rotate_license_key(:license_id, :digest, :overlap_s)")
_OVERVIEW = text("SELECT * FROM obol.license_overview ORDER BY created_at, license_id")
_SHOW = text("SELECT * FROM obol.license_overview WHERE license_id = :license_id")


def find(db: Database, key: LicenseKey) -> Row[Any]:
    """The license that a key opens: name, status, expires_at, balance, held, available.

    Raises: Problem license_invalid.
    """
    return db.row(_FIND, license_id=key.license_id, digest=key.digest)


def check(db: Database, key: LicenseKey) -> None:
    """That a key opens a license that may be used now. Raises: Problem license_*."""
    db.row(_CHECK, license_id=key.license_id, digest=key.digest)


def list_entries(db: Database, key: LicenseKey, before: int | None, limit: int) -> list[Row[Any]]:
    """Entries numbered below `before`, newest first.

    Raises: Problem license_invalid.
    """
    return db.rows(_LIST_ENTRIES, license_id=key.license_id, digest=key.digest, before=before, limit=limit)


def create(
    db: Database, key: LicenseKey, name: str, expires_at: datetime | None, credits: int, fingerprint: bytes
) -> Row[Any]:
    """Make a license: license_id, balance, created (false: an earlier call made it, with another key).

    Raises: Problem amount_invalid, idempotency_key_reused.
    """
    return db.row(
        _CREATE,
        license_id=key.license_id,
        digest=key.digest,
        name=name,
        expires_at=expires_at,
        credits=credits,
        fingerprint=fingerprint,
    )


def set_status(db: Database, license_id: UUID, status: str) -> None:
    """`status` is active or suspended. Raises: Problem license_invalid."""
    db.row(_SET_STATUS, license_id=license_id, status=status)


def rotate_key(db: Database, key: LicenseKey, overlap_s: int) -> datetime:
    """Add a key; returns when the keys before it end. Raises: Problem license_invalid."""
    (ends_at,) = db.row(_ROTATE, license_id=key.license_id, digest=key.digest, overlap_s=overlap_s)
    assert isinstance(ends_at, datetime)
    return ends_at


def overview(db: Database) -> list[Row[Any]]:
    """Every license, oldest first."""
    return db.rows(_OVERVIEW)


def show(db: Database, license_id: UUID) -> Row[Any]:
    """One license, by id. Raises: Problem license_invalid."""
    for row in db.rows(_SHOW, license_id=license_id):
        return row
    raise Problem("license_invalid", f"There is no license {license_id}.")
