"""The definition in force is one file a function, history never changes, and the two agree."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from migrating import ROOT, alembic, current_files, revisions

FOLDERS = [file.parent for file in current_files()]
ORDER = [script.revision for script in revisions()]

each_function = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def snapshots(folder: Path) -> set[str]:
    return {file.stem for file in folder.iterdir()} - {"current"}


def test_every_folder_has_a_current_definition():
    assert {file.name for file in (ROOT / "alembic" / "functions").iterdir()} == {folder.name for folder in FOLDERS}


@each_function
def test_current_is_the_newest_snapshot(folder):
    newest = max(snapshots(folder), key=ORDER.index)

    assert (folder / "current.sql").read_text() == (folder / f"{newest}.sql").read_text(), (
        f"copy {folder.name}/current.sql to the snapshot of a new migration: make snapshot REVISION=…"
    )


@each_function
def test_a_migration_names_exactly_the_functions_that_it_has_snapshots_of(folder):
    named = {script.revision for script in revisions() if folder.name in getattr(script.module, "FUNCTIONS", ())}

    assert named == snapshots(folder)


def test_a_migration_names_each_function_once_and_only_existing_ones():
    for script in revisions():
        names = getattr(script.module, "FUNCTIONS", [])
        assert len(names) == len(set(names))
        assert set(names) <= {folder.name for folder in FOLDERS}


def test_migrations_do_without_current_definitions(tmp_path):
    for name in ("alembic", "service"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("current.sql", "__pycache__"))
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


@each_function
def test_a_file_defines_its_function_and_revokes_it_from_everybody(folder):
    text = (folder / "current.sql").read_text()

    assert re.findall(r"^CREATE .*?(\w+)\(", text, re.MULTILINE) == [folder.name]
    assert re.search(rf"^REVOKE ALL ON FUNCTION obol\.{folder.name}\([^)]*\) FROM PUBLIC;$", text, re.MULTILINE)


@each_function
def test_a_file_is_120_lines_at_most(folder):
    assert len((folder / "current.sql").read_text().splitlines()) <= 120
