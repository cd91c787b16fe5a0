"""Lease of serving processes, and the state of the database as a whole."""

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from ..db import Database
from .admin import OWNER, Actor

_HEARTBEAT = text("SELECT * FROM obol.heartbeat(:process_id, :lease_s)")
_PURGE = text("SELECT * FROM obol.purge_expired()")
_LIST = text("SELECT * FROM obol.list_processes(:token_digest, :request_id)")
_REVISION = text("SELECT * FROM obol.current_revision()")
# Roles of PostgreSQL's own (pg_read_all_data, pg_monitor, …) let a login read or do what the service has
# no use for, whatever they will be called; but for those that only keep a login from being shut out.
_EXCESS = text("""
    SELECT r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication
           OR pg_catalog.pg_has_role(n.nspowner, 'MEMBER')
           OR EXISTS (SELECT FROM pg_catalog.pg_roles own
                       WHERE pg_catalog.starts_with(own.rolname, 'pg_')
                         AND own.rolname NOT IN ('pg_checkpoint', 'pg_use_reserved_connections')
                         AND pg_catalog.pg_has_role(own.oid, 'MEMBER'))
           OR EXISTS (SELECT FROM pg_catalog.pg_class c
                       WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'v', 'm')
                         AND pg_catalog.has_table_privilege(c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE'))
           OR EXISTS (SELECT FROM pg_catalog.pg_proc f
                       WHERE f.pronamespace = n.oid AND pg_catalog.has_function_privilege(f.oid, 'EXECUTE')
                         AND NOT pg_catalog.has_function_privilege('obol_service', f.oid, 'EXECUTE'))
      FROM pg_catalog.pg_roles r
      LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = 'obol'
     WHERE r.rolname = current_user
""")
# Where the text of a statement can be read: by other sessions of the login, and in the server's log.
_SHOWN = text("""
    SELECT pg_catalog.format('ALTER ROLE %I SET %s = %s', current_user, s.name, s.wanted)
      FROM (VALUES ('track_activities', 'off', '{off}'),
                   ('log_min_error_statement', 'panic', '{panic}'),
                   ('log_statement', 'none', '{none, ddl, mod}'),
                   ('log_min_duration_statement', '-1', '{-1}'),
                   ('log_min_duration_sample', '-1', '{-1}'),
                   ('log_transaction_sample_rate', '0', '{0}'),
                   ('auto_explain.log_min_duration', '-1', '{-1}')) AS s (name, wanted, good)
     WHERE pg_catalog.current_setting(s.name, true) <> ALL (CAST(s.good AS text[]))
""")


class Process(NamedTuple):
    """A process that has a lease, or had one; `lease_left_s` is below 0 where it has lapsed."""

    process_id: UUID
    started_at: datetime
    lease_expires_at: datetime
    lease_left_s: float
    open_holds: int


def heartbeat(db: Database, process_id: UUID, lease_s: float) -> datetime:
    """Renew a lease for `lease_s` seconds (0 ends it); returns the database's time."""
    (now,) = db.row(_HEARTBEAT, process_id=process_id, lease_s=lease_s)
    assert isinstance(now, datetime)
    return now


def purge(db: Database) -> int:
    """Forget a batch of old answers, keys, unpaid holds and leases; returns how many, leases aside."""
    (purged,) = db.row(_PURGE)
    return int(purged)


def list_processes(db: Database, *, actor: Actor = OWNER) -> list[Process]:
    """The processes of today, the newest first. Raises: Problem admin_forbidden."""
    return [Process._make(row) for row in db.rows(_LIST, **actor._asdict())]


def revision(db: Database) -> str | None:
    """The migration that the database is at; None before the first one has ended."""
    (version,) = db.row(_REVISION)
    return None if version is None else str(version)


def login_can_do_too_much(db: Database) -> bool:
    """Whether the login has more than the role obol_service: it is a superuser, say, can make roles, owns
    the schema, touches a table, or reads what other sessions do."""
    (excess,) = db.row(_EXCESS)
    return bool(excess)


def settings_that_show_digests(db: Database) -> list[str]:
    """The statements that keep key digests from being read in the texts of the login's own statements,
    where they are not done: each is for a superuser to run. Why: docs/decisions/0013."""
    return [str(statement) for (statement,) in db.rows(_SHOWN)]
