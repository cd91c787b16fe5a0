"""The keys of a license as an operator has them, and the limits of keys and licenses."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, PAGE, Actor, Place, after_place, pages

_ACTOR = ":token_digest, :request_id"
_CREATE = text(
    "SELECT * FROM obol.create_key(:license_id, :key_id, :digest, :name, CAST(:expires_at AS timestamptz), "
    f"CAST(:limits AS jsonb), :idempotency_key, :fingerprint, {_ACTOR})"
)
_LIST = text(
    "SELECT * FROM obol.list_keys(:license_id, CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), :limit, "
    f"{_ACTOR})"
)
_SET = text(
    "SELECT * FROM obol.set_key(:license_id, :key_id, :name, CAST(:expires_at AS timestamptz), "
    f"CAST(:allow_past AS boolean), CAST(:limits AS jsonb), {_ACTOR})"
)
_REVOKE = text(f"SELECT * FROM obol.revoke_key(:license_id, :key_id, {_ACTOR})")

_SHOW = text(f"SELECT * FROM obol.show_limits(:license_id, CAST(:key_id AS uuid), {_ACTOR})")
_SHOW_OWN = text("SELECT * FROM obol.show_own_limits(:license_id, :digest)")
_SET_OWN_KEYS = text(f"SELECT obol.set_own_keys(:license_id, CAST(:most AS integer), {_ACTOR})")

# What a limit of numbers can be at most; each is at least 1.
MOST = {
    "requests_per_minute": 1_000_000,
    "concurrent_holds": 1_000_000,
    "credits_per_day": 2**63 - 1,
    "credits_per_month": 2**63 - 1,
}

# How many patterns of models, each a name, or the beginning of names and a *.
MOST_MODELS = 100

# How many keys of its own making a license can be allowed.
MOST_OWN_KEYS = 100

# A change that takes every limit away.
NO_LIMITS: Mapping[str, Any] = dict.fromkeys([*MOST, "models"])

# By the names of MOST and "models", those that are set; None: none is.
Limits = Mapping[str, Any]


class LicenseKey(NamedTuple):
    """A key without what opens anything; `last_used_at` is right to the hour."""

    key_id: UUID
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None
    revoked_at: datetime | None
    limits: dict[str, Any] | None

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.key_id)

    def is_good(self, at: datetime) -> bool:
        """Whether it opens its license at a time from now on, as far as is known."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > at)


class UsedLimit(NamedTuple):
    """A limit of numbers, of a "license" or a "key", and what of it is used."""

    limit_of: str
    limit_name: str
    limit_value: int
    used: int


def as_jsonb(limits: Limits | None) -> str | None:
    """Limits, or a change of them, as a parameter."""
    return None if limits is None else json.dumps(dict(limits))


def create_key(
    db: Database,
    key: KeyDigest,
    key_id: UUID,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    limits: Limits | None = None,
    idempotency_key: str | None = None,
    fingerprint: bytes = b"",
    actor: Actor = OWNER,
) -> LicenseKey:
    """Add a key to a license, once an id, and once an idempotency key: its first key has another id than `key_id`.

    Raises: Problem admin_forbidden, license_invalid, idempotency_key_reused, amount_invalid (a time that is past, a
        limit that is none).
    """
    row = db.row(
        _CREATE,
        license_id=key.license_id,
        key_id=key_id,
        digest=key.digest,
        name=name,
        expires_at=expires_at,
        limits=as_jsonb(limits),
        idempotency_key=idempotency_key,
        fingerprint=fingerprint,
        **actor._asdict(),
    )
    return LicenseKey._make(row)


def list_keys(
    db: Database, license_id: UUID, *, after: Place | None = None, limit: int = PAGE, actor: Actor = OWNER
) -> list[LicenseKey]:
    """The keys of a license, oldest first, with those that have ended.

    Raises: Problem admin_forbidden, license_invalid.
    """
    rows = db.rows(_LIST, license_id=license_id, limit=limit, **after_place(after), **actor._asdict())
    return [LicenseKey._make(row) for row in rows]


def every_key(db: Database, license_id: UUID) -> Iterator[LicenseKey]:
    """All that `list_keys` has, whatever the number."""
    return pages(lambda after, limit: list_keys(db, license_id, after=after, limit=limit))


def set_key(
    db: Database,
    license_id: UUID,
    key_id: UUID,
    *,
    name: str | None = None,
    expires_at: datetime | Literal["never"] | None = None,
    allow_past: bool = False,
    limits: Limits | None = None,
    actor: Actor = OWNER,
) -> LicenseKey:
    """Rename a key, let it end at another time (`allow_past`: at once), or change its limits: those named, None takes
    one away. What is not named stays.

    Raises: Problem admin_forbidden, license_invalid, key_not_found, amount_invalid.
    """
    row = db.row(
        _SET,
        license_id=license_id,
        key_id=key_id,
        name=name,
        expires_at="infinity" if expires_at == "never" else expires_at,
        allow_past=allow_past,
        limits=as_jsonb(limits),
        **actor._asdict(),
    )
    return LicenseKey._make(row)


def revoke_key(db: Database, license_id: UUID, key_id: UUID, *, actor: Actor = OWNER) -> LicenseKey:
    """End a key for good. Raises: Problem admin_forbidden, license_invalid, key_not_found."""
    return LicenseKey._make(db.row(_REVOKE, license_id=license_id, key_id=key_id, **actor._asdict()))


def show_limits(db: Database, license_id: UUID, *, key_id: UUID | None = None, actor: Actor = OWNER) -> list[UsedLimit]:
    """What is used of the limits of a license, and of a key's. Raises: Problem admin_forbidden, license_invalid."""
    rows = db.rows(_SHOW, license_id=license_id, key_id=key_id, **actor._asdict())
    return [UsedLimit(of, name, value, int(used)) for of, name, value, used in rows]


def show_own_limits(db: Database, key: KeyDigest) -> list[UsedLimit]:
    """What is used of the limits that a call with a key has to keep. Raises: Problem license_invalid."""
    rows = db.rows(_SHOW_OWN, **key._asdict())
    return [UsedLimit(of, name, value, int(used)) for of, name, value, used in rows]


def set_own_keys(db: Database, license_id: UUID, most: int | None = None, *, actor: Actor = OWNER) -> int:
    """How many good keys of its own making a license may have at once, from now on (None: as it is); 0: none.

    Raises: Problem admin_forbidden, license_invalid, amount_invalid.
    """
    (now,) = db.row(_SET_OWN_KEYS, license_id=license_id, most=most, **actor._asdict())
    return int(now)
