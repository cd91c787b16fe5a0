"""What the tests of the migrations share: Alembic and psql in processes of their own, and the dump."""

import os
import subprocess
import sys
from pathlib import Path

from alembic.script import Script, ScriptDirectory
from dump_schema import connection, dump
from factories import ROOT, run
from lint_sql import present

from service import migrations
from service.dev.embedded import wheel_binaries

__all__ = ["HERE", "ROOT", "alembic", "dump", "finish", "present_files", "psql", "revisions", "run", "start_alembic"]

HERE = Path(__file__).parent


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


def revisions() -> list[Script]:
    """The migrations, oldest first."""
    scripts = ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()
    return list(scripts)[::-1]


def present_files() -> list[Path]:
    """What is in force, views before the functions that read them."""
    return sorted(present(ROOT / "alembic"), key=lambda file: file.parent.name != "views")
