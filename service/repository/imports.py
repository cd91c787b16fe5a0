"""Licenses and keys that come from another system."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from ..keys import KeyDigest
from .admin import OWNER, Actor

_FIND = text("SELECT * FROM obol.find_imported_key(:digest)")
_IMPORT = text(
    "SELECT * FROM obol.import_license(:license_id, :digest, :credits, :status, CAST(:expires_at AS timestamptz), "
    ":external_id, :name, CAST(:dry_run AS boolean), :token_digest, :request_id)"
)


class FoundKey(NamedTuple):
    """The license that an imported key is of, None when there is no such key; and whether there are any keys
    that were imported."""

    license_id: UUID | None
    are_any: bool


class ImportedLicense(NamedTuple):
    """`result` is imported or unchanged; `license_id` is None where a dry run would have made one."""

    license_id: UUID | None
    result: str


def find_key(db: Database, digest: bytes) -> FoundKey:
    """Where to look for an imported key; it may have ended since."""
    return FoundKey._make(db.row(_FIND, digest=digest))


def import_license(
    db: Database,
    key: KeyDigest,
    *,
    credits: int,
    status: str = "active",
    expires_at: datetime | None = None,
    external_id: str | None = None,
    name: str = "",
    dry_run: bool = False,
    actor: Actor = OWNER,
) -> ImportedLicense:
    """Take a license over with its key, once a key; `key.license_id` is a new one. `status` is active or suspended.

    Raises: Problem admin_forbidden, amount_invalid, already_exists (`field`: what the key was imported with
        otherwise, the key, the external id).
    """
    row = db.row(
        _IMPORT,
        license_id=key.license_id,
        digest=key.digest,
        credits=credits,
        status=status,
        expires_at=expires_at,
        external_id=external_id,
        name=name,
        dry_run=dry_run,
        **actor._asdict(),
    )
    return ImportedLicense._make(row)
