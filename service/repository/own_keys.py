"""The keys that whoever holds a license makes, where the operator allows it."""

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .limits import LicenseKey, Limits, as_jsonb

_KEY = ":license_id, :digest"
_LIST = text(f"SELECT * FROM obol.list_own_keys({_KEY})")
_CREATE = text(
    f"SELECT * FROM obol.create_own_key({_KEY}, :key_id, :new_digest, :name, CAST(:expires_at AS timestamptz), "
    "CAST(:limits AS jsonb))"
)
_SET = text(f"SELECT * FROM obol.set_own_key({_KEY}, :key_id, :name, CAST(:limits AS jsonb))")
_REVOKE = text(f"SELECT * FROM obol.revoke_own_key({_KEY}, :key_id)")


class CreatedKey(NamedTuple):
    """A key, as LicenseKey has it; `is_new`: no earlier call has made it."""

    is_new: bool
    key_id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    limits: dict[str, Any] | None


def list_keys(db: Database, key: KeyDigest) -> list[LicenseKey]:
    """The keys that were made so, oldest first. Raises: Problem license_invalid, keys_not_allowed."""
    return [LicenseKey._make(row) for row in db.rows(_LIST, **key._asdict())]


def create(
    db: Database,
    key: KeyDigest,
    new: KeyDigest,
    *,
    key_id: UUID,
    name: str,
    expires_at: datetime | None = None,
    limits: Limits | None = None,
) -> CreatedKey:
    """Add a key, once an id.

    Raises: Problem license_*, keys_not_allowed, idempotency_key_reused, amount_invalid (a time that is past, a limit
        that is none).
    """
    row = db.row(
        _CREATE,
        **key._asdict(),
        key_id=key_id,
        new_digest=new.digest,
        name=name,
        expires_at=expires_at,
        limits=as_jsonb(limits),
    )
    return CreatedKey._make(row)


def change(
    db: Database, key: KeyDigest, key_id: UUID, *, name: str | None = None, limits: Limits | None = None
) -> LicenseKey:
    """Rename a key, or change its limits: those named, None takes one away.

    Raises: Problem license_*, keys_not_allowed, key_not_found, amount_invalid.
    """
    row = db.row(_SET, **key._asdict(), key_id=key_id, name=name, limits=as_jsonb(limits))
    return LicenseKey._make(row)


def revoke(db: Database, key: KeyDigest, key_id: UUID) -> LicenseKey:
    """End a key for good. Raises: Problem license_invalid, keys_not_allowed, key_not_found."""
    return LicenseKey._make(db.row(_REVOKE, **key._asdict(), key_id=key_id))
