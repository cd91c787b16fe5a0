"""`.ci/run` says what of the suite it cannot run, and fetches what that needs where it may."""

import shutil
import subprocess

import pytest
from factories import ROOT

# What the script runs before the lint, besides the stand-ins.
PROGRAMS = ("sh", "dirname", "grep", "sort", "tr", "timeout")


@pytest.fixture
def begin(tmp_path):
    """`begin(uid)`: what it says until the lint, and what it has asked apt-get for, on a machine with nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).symlink_to(str(shutil.which(name)))

    def write(name, script):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n")
        (programs / name).chmod(0o755)

    def begin(uid):
        write("id", f"echo {uid}")
        write("make", "exit 77")
        write("apt-get", f'echo "$@" >>{tmp_path}/asked')
        (tmp_path / ".ci").mkdir()
        # Elsewhere it finds what this machine has.
        script = (ROOT / ".ci" / "run").read_text().replace(":/usr/sbin:/usr/local/sbin", "")
        (tmp_path / ".ci" / "run").write_text(script)
        (tmp_path / "tests").symlink_to(ROOT / "tests")
        ended = subprocess.run(
            [programs / "sh", ".ci/run"], cwd=tmp_path, env={"PATH": str(programs)}, capture_output=True, text=True
        )
        assert ended.returncode == 77, ended.stderr
        asked = tmp_path / "asked"
        return ended.stderr, asked.read_text() if asked.exists() else ""

    return begin


def test_who_may_not_fetch_is_told_what_is_skipped(begin):
    said, asked = begin(1000)

    browser, pgbouncer = said.splitlines()
    assert browser.startswith("NO BROWSER: tests/pages/test_")
    assert pgbouncer.startswith("NO PGBOUNCER: ")
    files = ("tests/concurrency/conftest.py", "tests/curl/test_curl.py", "tests/faults/test_pgbouncer.py")
    assert all(file in pgbouncer for file in files)
    assert asked == ""


def test_root_fetches_both(begin):
    _, asked = begin(0)

    assert "--no-install-recommends chromium chromium-driver\n" in asked
    assert "--no-install-recommends pgbouncer\n" in asked
