"""A migration is the files of its own folder, and every room is found in the same places."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from migrating import ROOT, alembic, present_files, revisions

from service import repository

FUNCTIONS = ROOT / "alembic" / "functions"

# Rooms without a module of the repository: only other functions call what is in them.
INNER = {"idempotency"}

# Modules that ask the catalogs, and have no functions; and one whose functions are in the room of keys.
WITHOUT_A_ROOM = {"sharding", "own_keys"}


@pytest.mark.parametrize("script", revisions(), ids=lambda script: script.revision)
def test_a_migration_names_each_file_of_its_folder_once(script):
    files = sorted(file.stem for file in (ROOT / "alembic" / "versions" / script.revision).glob("*.sql"))

    assert sorted([*script.module.UPGRADE, *script.module.DOWNGRADE]) == files


@pytest.mark.parametrize("script", revisions(), ids=lambda script: script.revision)
def test_a_migration_does_nothing_but_run_its_files(script):
    _, _, body = Path(script.path).read_text().partition("\n\n\n")

    assert body == (
        "def upgrade() -> None:\n    run_scripts(revision, UPGRADE)\n\n\n"
        "def downgrade() -> None:\n    run_scripts(revision, DOWNGRADE)\n"
    )


def test_no_two_files_in_force_have_the_same_name():
    names = [file.name for file in present_files()]

    assert len(names) == len(set(names))


def test_a_room_is_found_in_functions_repository_and_tests():
    rooms = {folder.name for folder in FUNCTIONS.iterdir()}
    modules = {file.stem for file in Path(repository.__file__).parent.glob("*.py")} - {"__init__"}
    tests = {folder.name for folder in (ROOT / "tests" / "sql").iterdir() if list(folder.glob("test_*.py"))}

    assert modules - WITHOUT_A_ROOM == rooms - INNER
    assert tests == rooms


def test_migrations_do_without_what_is_in_force(tmp_path):
    present = shutil.ignore_patterns("functions", "views", "__pycache__")
    for name in ("alembic", "service"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=present)
    shutil.copy(ROOT / "alembic.ini", tmp_path)

    without = subprocess.run(
        [Path(sys.executable).parent / "alembic", "upgrade", "head", "--sql"],
        cwd=tmp_path,
        # Nothing of ours: its coverage would count the copies.
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert without.returncode == 0, without.stderr
    assert without.stdout == alembic("upgrade", "head", "--sql")
