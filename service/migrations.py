"""What Alembic's migrations and the commands around them share."""

from collections.abc import Iterable
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from alembic import command, op

from .problems import Problem

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "alembic" / "functions"

_REVOKE_ALL = """
DO $$
DECLARE
    host_role text;
BEGIN
    FOR host_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ({roles}) LOOP
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA obol FROM %I', host_role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA obol FROM %I', host_role);
        EXECUTE format('REVOKE ALL ON SCHEMA obol FROM %I', host_role);
    END LOOP;
END
$$
"""


class MigrationError(Exception):
    """Alembic refused; the message says why."""


def revoke_all_from(*roles: str) -> None:
    """Take every right in the schema from roles of the host, where they exist.

    Some hosts (Supabase) grant what is new to the roles that their public API runs as, by default
    privileges. Every migration that makes functions or tables ends with this for `anon` and
    `authenticated`. For `service_role` only the first one does: what an operator has granted to it
    since is not ours to take back.
    """
    names = ", ".join(f"'{role}'" for role in roles)
    op.execute(_REVOKE_ALL.format(roles=names))


def run_snapshots(revision: str, names: Iterable[str]) -> None:
    """Create or replace functions from their snapshots of this revision, never from current.sql."""
    for name in names:
        script = (FUNCTIONS / name / f"{revision}.sql").read_text()
        # Alembic takes :name for a parameter.
        op.execute(script.replace(":", r"\:"))


def drop_functions(names: Iterable[str]) -> None:
    """Drop functions that one revision introduced, for its downgrade; no name is overloaded."""
    for name in names:
        op.execute(f"DROP FUNCTION obol.{name}")


def alembic_config(url: str | None = None) -> Config:
    """Alembic's configuration, for a database that is not the environment's."""
    config = Config(ROOT / "alembic.ini")
    if url is not None:
        config.attributes.update(url=url, quiet=True)
    return config


def head() -> str:
    """The newest migration."""
    newest = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert newest is not None
    return newest


def upgrade(url: str, revision: str = "head") -> None:
    """Bring a database to a migration.

    Raises:
        MigrationError: there is no such migration.
        Problem: database_error, when the database could not be reached.
    """
    try:
        command.upgrade(alembic_config(url), revision)
    except CommandError as error:
        raise MigrationError(str(error)) from error
    except OperationalError as error:
        raise Problem("database_error", "The database could not be reached. Ask again.") from error
