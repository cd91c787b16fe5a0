"""`make lint` fails for what it is there for, on a copy of the tree that was spoilt in one place."""

import shutil
import subprocess
from pathlib import Path

import pytest
from factories import ROOT

# What git does not keep: other tests write and remove such files while the tree is copied.
LEFT_OUT = shutil.ignore_patterns(
    *(".*_cache", ".coverage*", ".git", ".hypothesis", ".obol", ".venv"),
    *("*.egg-info", "__pycache__", "node_modules"),
)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    tree = shutil.copytree(ROOT, tmp_path / "copy", ignore=LEFT_OUT)
    (tree / ".venv").symlink_to(ROOT / ".venv")
    # It would install the copy, which is gone soon, into the environment that these tests run in.
    (tree / "scripts" / "install.sh").write_text("#!/bin/sh\n")
    return tree


def lint(tree: Path) -> tuple[int, str]:
    made = subprocess.run(["make", "lint"], cwd=tree, capture_output=True, text=True, timeout=100)
    return made.returncode, made.stdout + made.stderr


def append(file: Path, line: str) -> None:
    file.write_text(file.read_text() + line)


def test_flask_in_the_log_is_found(copy):
    append(copy / "service" / "logs.py", "\n\nimport flask  # noqa: E402, F401\n")

    code, said = lint(copy)

    assert code != 0
    assert "Flask and marshmallow are for api, pages and http BROKEN" in said
    assert "service.logs -> flask" in said


def test_a_module_without_a_layer_is_found(copy):
    (copy / "service" / "extra.py").write_text('"""It has no layer."""\n')

    code, said = lint(copy)

    assert code != 0
    assert "Downward only BROKEN" in said
    assert "- service.extra" in said


def test_a_module_of_the_gateway_without_a_place_is_found(copy):
    (copy / "service" / "gateway" / "extra.py").write_text('"""It has no layer."""\n')

    code, said = lint(copy)

    assert code != 0
    assert "One call, from its request to its charge BROKEN" in said


def test_a_volatile_guard_is_found(copy):
    for file in (copy / "alembic").glob("**/book_deduction.sql"):
        file.write_text(file.read_text().replace("l.expires_at > v_now", "l.expires_at > clock_timestamp()"))

    code, said = lint(copy)

    assert code != 0
    assert "functions/ledger/book_deduction.sql: an UPDATE or DELETE calls clock_timestamp()" in said


def test_a_function_that_differs_from_its_snapshot_is_found(copy):
    append(copy / "alembic" / "functions" / "ledger" / "deduct.sql", "-- changed\n")

    code, said = lint(copy)

    assert code != 0
    assert "functions/ledger/deduct.sql: it is not as in its newest snapshot" in said
