"""What the tests of the migrations share: Alembic and psql in processes of their own, and the dump."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg2
from alembic.script import Script, ScriptDirectory

from service import migrations
from service.embedded import wheel_binaries

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from dump_schema import connection, dump  # noqa: E402

__all__ = ["ROOT", "alembic", "current_files", "dump", "finish", "psql", "revisions", "run", "start_alembic"]


def start_alembic(*arguments: str, **environ: str) -> "subprocess.Popen[str]":
    """`alembic` as a deploy runs it."""
    return subprocess.Popen(
        [Path(sys.executable).parent / "alembic", *arguments],
        cwd=ROOT,
        env=os.environ | environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def alembic(*arguments: str, **environ: str) -> str:
    """The output of an `alembic` that must succeed."""
    code, output, errors = finish(start_alembic(*arguments, **environ))
    assert code == 0, errors
    return output


def psql(url: str, script: str) -> None:
    """Apply a script the way an operator does; it must succeed."""
    dsn, environment = connection(url)
    result = subprocess.run(
        [wheel_binaries() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-f", "-"],
        env=environment,
        input=script,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr


def run(url: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Statements on a connection of their own, committed; the rows of the last one."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def revisions() -> list[Script]:
    """The migrations, oldest first."""
    scripts = ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()
    return list(scripts)[::-1]


def current_files() -> list[Path]:
    """current.sql of every function, in the order of their names."""
    return sorted(migrations.FUNCTIONS.glob("*/current.sql"))
