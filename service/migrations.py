"""What Alembic's migrations and the commands around them share."""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from alembic import command, op

from . import keys
from .problems import Problem

# Where alembic.ini, alembic/, wsgi.py and gunicorn.conf.py are: the wheel has them in the package (setup.py).
_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE / "_root" if (_PACKAGE / "_root").is_dir() else _PACKAGE.parent
VERSIONS = ROOT / "alembic" / "versions"

_GRANT = re.compile(r"^GRANT EXECUTE ON FUNCTION (obol\.\w+\([^()]*\)) TO obol_service;$", re.MULTILINE)

# What is said of an OBOL_ADMIN_TOKEN that stays shut out.
REVOKED = "OBOL_ADMIN_TOKEN was revoked, or replaced by another, and stays so; choose a new one."


class MigrationError(Exception):
    """Alembic refused; the message says why."""


def run_scripts(revision: str, names: Iterable[str]) -> None:
    """Run files of a migration's own folder, versions/<revision>/<name>.sql, in this order."""
    for name in names:
        script = (VERSIONS / revision / f"{name}.sql").read_text()
        # Alembic takes :name for a parameter.
        op.execute(script.replace(":", r"\:"))


def register_admin_token(connection: Connection, token: str) -> None:
    """Make OBOL_ADMIN_TOKEN the first token of the admin API, as the owner, in the transaction of the migration."""
    (exists,) = connection.execute(text("SELECT to_regprocedure('obol.register_first_token(bytea)') IS NOT NULL")).one()
    digest = keys.parse_token(token)
    # Not before the migration that can.
    if exists and digest is not None:
        (outcome,) = connection.execute(text("SELECT obol.register_first_token(:digest)"), {"digest": digest}).one()
        if outcome == "revoked":
            sys.stderr.write(f"obol: {REVOKED}\n")


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


def upgrade(url: str, revision: str = "head", *, admin_token: str | None = None) -> None:
    """Bring a database to a migration, and register OBOL_ADMIN_TOKEN, if there is one, in the same transaction.

    Raises:
        MigrationError: there is no such migration.
        Problem: database_error, when the database could not be reached.
    """
    try:
        config = alembic_config(url)
        config.attributes["admin_token"] = admin_token
        command.upgrade(config, revision)
    except CommandError as error:
        raise MigrationError(str(error)) from error
    except OperationalError as error:
        raise Problem("database_error", "The database could not be reached. Ask again.") from error.orig


def granted() -> list[str]:
    """Signatures of the functions that any migration has let the service call, those that a later one dropped, too."""
    return sorted({name for file in VERSIONS.glob("*/*.sql") for name in _GRANT.findall(file.read_text())})
