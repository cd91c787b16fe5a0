"""Licenses and their keys."""

from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID, uuid4

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, PAGE, Actor, Place, after_place, pages
from .limits import Limits, as_jsonb

_FIND = text("SELECT * FROM obol.find_license(:license_id, :digest)")
_CHECK = text("SELECT * FROM obol.check_license(:license_id, :digest)")
_CREATE = text(
    "SELECT * FROM obol.create_license_v2(:license_id, :digest, :name, CAST(:expires_at AS timestamptz), "
    ":credits, :external_id, CAST(:limits AS jsonb), :fingerprint, :token_digest, :request_id)"
)
_SET = text(
    "SELECT * FROM obol.set_license_v2(:license_id, :name, CAST(:expires_at AS timestamptz), "
    "CAST(:allow_past AS boolean), :status, CAST(:limits AS jsonb), :token_digest, :request_id)"
)
_ROTATE = text(
    "SELECT * FROM obol.rotate_license_key_v2(:license_id, :digest, :overlap_s, :key_id, CAST(:only_key_id AS uuid), "
    ":token_digest, :request_id)"
)
_LIST = text(
    "SELECT * FROM obol.list_licenses(:query, :status, CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), "
    ":limit, :token_digest, :request_id)"
)
_LIST_NEWEST = text(
    "SELECT * FROM obol.list_newest_licenses(:query, :status, CAST(:after_at AS timestamptz), CAST(:after_id AS uuid), "
    ":limit, :token_digest, :request_id)"
)
_SHOW = text("SELECT * FROM obol.show_license(:license_id, :token_digest, :request_id)")


class License(NamedTuple):
    """A license; `status` is active, suspended or expired."""

    license_id: UUID
    name: str
    status: str
    expires_at: datetime | None
    balance: int
    held: int
    available: int


class ListedLicense(NamedTuple):
    """A license as an operator sees it; `status` is active, suspended or expired."""

    license_id: UUID
    name: str
    status: str
    expires_at: datetime | None
    balance: int
    held: int
    available: int
    external_id: str | None
    created_at: datetime
    limits: dict[str, Any] | None

    @property
    def place(self) -> Place:
        return Place(self.created_at, self.license_id)


class CreatedLicense(NamedTuple):
    """`created` is false when an earlier call made the license, with another key. `key_id`: of its first key."""

    license_id: UUID
    balance: int
    created: bool
    key_id: UUID


def find(db: Database, key: KeyDigest) -> License:
    """The license that a key opens.

    Raises: Problem license_invalid.
    """
    return License._make(db.row(_FIND, license_id=key.license_id, digest=key.digest))


def check(db: Database, key: KeyDigest) -> None:
    """That a key opens a license that may be used now. Raises: Problem license_*."""
    db.row(_CHECK, license_id=key.license_id, digest=key.digest)


def create(
    db: Database,
    key: KeyDigest,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    credits: int = 0,
    external_id: str | None = None,
    limits: Limits | None = None,
    fingerprint: bytes = b"",
    actor: Actor = OWNER,
) -> CreatedLicense:
    """Make a license, once an id.

    Raises: Problem admin_forbidden, amount_invalid, idempotency_key_reused, already_exists (the external id).
    """
    row = db.row(
        _CREATE,
        license_id=key.license_id,
        digest=key.digest,
        name=name,
        expires_at=expires_at,
        credits=credits,
        external_id=external_id,
        limits=as_jsonb(limits),
        fingerprint=fingerprint,
        **actor._asdict(),
    )
    return CreatedLicense._make(row)


def set_license(
    db: Database,
    license_id: UUID,
    *,
    name: str | None = None,
    expires_at: datetime | Literal["never"] | None = None,
    allow_past: bool = False,
    status: str | None = None,
    limits: Limits | None = None,
    actor: Actor = OWNER,
) -> ListedLicense:
    """Rename or renew a license, suspend (`status` "suspended") or resume ("active") it; None leaves things as they
    are. `allow_past`: it may end at once. `limits`: those that change, None takes one away.

    Raises: Problem admin_forbidden, license_invalid, amount_invalid (a time that is past, a limit that is none).
    """
    row = db.row(
        _SET,
        license_id=license_id,
        name=name,
        expires_at="infinity" if expires_at == "never" else expires_at,
        allow_past=allow_past,
        status=status,
        limits=as_jsonb(limits),
        **actor._asdict(),
    )
    return ListedLicense._make(row)


def set_status(db: Database, license_id: UUID, status: str, *, actor: Actor = OWNER) -> ListedLicense:
    """`status` is active or suspended. Raises: Problem admin_forbidden, license_invalid."""
    return set_license(db, license_id, status=status, actor=actor)


def rotate_key(
    db: Database,
    key: KeyDigest,
    overlap_s: int,
    *,
    key_id: UUID | None = None,
    only_key_id: UUID | None = None,
    actor: Actor = OWNER,
) -> datetime:
    """Add a key, by default in place of all that the license has; returns when those end.

    `only_key_id`: in place of that one, with its name, limits and expiry.

    Raises: Problem admin_forbidden, license_invalid, key_not_found.
    """
    (ends_at,) = db.row(
        _ROTATE,
        license_id=key.license_id,
        digest=key.digest,
        overlap_s=overlap_s,
        key_id=key_id or uuid4(),
        only_key_id=only_key_id,
        **actor._asdict(),
    )
    assert isinstance(ends_at, datetime)
    return ends_at


def list_licenses(
    db: Database,
    *,
    query: str | None = None,
    status: str | None = None,
    after: Place | None = None,
    newest_first: bool = False,
    limit: int = PAGE,
    actor: Actor = OWNER,
) -> list[ListedLicense]:
    """Licenses, oldest first: those with `query` in the name, or an id or external id that begins so; of a status.

    Raises: Problem admin_forbidden.
    """
    listed = _LIST_NEWEST if newest_first else _LIST
    rows = db.rows(listed, query=query, status=status, limit=limit, **after_place(after), **actor._asdict())
    return [ListedLicense._make(row) for row in rows]


def overview(db: Database, *, query: str | None = None, status: str | None = None) -> list[ListedLicense]:
    """All that `list_licenses` has, whatever the number."""
    return list(pages(lambda after, limit: list_licenses(db, query=query, status=status, after=after, limit=limit)))


def show(db: Database, license_id: UUID, *, actor: Actor = OWNER) -> ListedLicense:
    """One license, by id. Raises: Problem admin_forbidden, license_invalid."""
    return ListedLicense._make(db.row(_SHOW, license_id=license_id, **actor._asdict()))
