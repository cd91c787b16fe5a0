"""What Alembic's migrations and the commands around them share."""

from collections.abc import Iterable
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from alembic import command, op

ROOT = Path(__file__).resolve().parent.parent
FUNCTIONS = ROOT / "alembic" / "functions"

# Ends every migration that makes functions or tables. PostgreSQL lets everybody execute a new
# function, and some hosts (Supabase) also grant it to the roles that their public API runs as.
FOR_CLIENT_ROLES = """
DO $$
DECLARE
    client_role text;
BEGIN
    FOR client_role IN SELECT rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated') LOOP
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA obol FROM %I', client_role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA obol FROM %I', client_role);
        EXECUTE format('REVOKE ALL ON SCHEMA obol FROM %I', client_role);
    END LOOP;
END
$$
"""


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
    """Bring a database to a migration."""
    command.upgrade(alembic_config(url), revision)
