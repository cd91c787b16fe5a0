"""What Alembic's migrations and the commands around them share."""

from collections.abc import Iterable
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy.exc import OperationalError

from alembic import command, op

from .problems import Problem

# Where alembic.ini, alembic/, wsgi.py and gunicorn.conf.py are: the wheel has them in the package (setup.py).
_PACKAGE = Path(__file__).resolve().parent
ROOT = _PACKAGE / "_root" if (_PACKAGE / "_root").is_dir() else _PACKAGE.parent
VERSIONS = ROOT / "alembic" / "versions"


class MigrationError(Exception):
    """Alembic refused; the message says why."""


def run_scripts(revision: str, names: Iterable[str]) -> None:
    """Run files of a migration's own folder, versions/<revision>/<name>.sql, in this order."""
    for name in names:
        script = (VERSIONS / revision / f"{name}.sql").read_text()
        # Alembic takes :name for a parameter.
        op.execute(script.replace(":", r"\:"))


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
