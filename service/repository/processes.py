"""Lease of serving processes, and the state of the database as a whole."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import text

from ..db import Database

_HEARTBEAT = text("SELECT * FROM obol.heartbeat(:process_id, :lease_s)")
_PURGE = text("SELECT * FROM obol.purge_expired()")
_REVISION = text("SELECT * FROM obol.current_revision()")
_EXCESS = text(
    "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls "
    "OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = 'obol' "
    "AND pg_catalog.pg_has_role(n.nspowner, 'USAGE')) "
    "FROM pg_catalog.pg_roles WHERE rolname = current_user"
)


def heartbeat(db: Database, process_id: UUID, lease_s: float) -> datetime:
    """Renew a lease for `lease_s` seconds (0 ends it); returns the database's time."""
    (now,) = db.row(_HEARTBEAT, process_id=process_id, lease_s=lease_s)
    assert isinstance(now, datetime)
    return now


def purge(db: Database) -> int:
    """Forget a batch of old answers, keys and leases; returns how many answers and keys."""
    (purged,) = db.row(_PURGE)
    return int(purged)


def revision(db: Database) -> str | None:
    """The migration that the database is at; None before the first one has ended."""
    (version,) = db.row(_REVISION)
    return None if version is None else str(version)


def login_can_do_too_much(db: Database) -> bool:
    """Whether the login is a superuser, can make roles or databases, or owns the schema."""
    (excess,) = db.row(_EXCESS)
    return bool(excess)
