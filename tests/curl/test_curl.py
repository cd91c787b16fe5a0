"""The scripts of this folder, which know nothing of Python, against a served instance, directly and through
PgBouncer."""

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pooler import *  # noqa: F403 - both ways

from service.repository import licenses

HERE = Path(__file__).parent
SCRIPTS = ["health", "license", "deductions", "holds", "generate", "errors"]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")


def run(script, environment):
    ended = subprocess.run(
        ["sh", HERE / script],
        env={"PATH": os.environ["PATH"], **environment},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=110,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_every_script(serve, owner, new_license):
    suspended = new_license()
    licenses.set_status(owner, suspended.id, "suspended")
    environment = {
        "OBOL_URL": serve().url,
        "OBOL_KEY": new_license(credits=100_000).raw_key,
        "OBOL_POOR_KEY": new_license(credits=1).raw_key,
        "OBOL_EXPIRED_KEY": new_license(expires_at=datetime(2020, 1, 1, tzinfo=UTC)).raw_key,
        "OBOL_SUSPENDED_KEY": suspended.raw_key,
    }
    code, said = run("run.sh", environment)

    assert code == 0, said
    assert said.endswith("All passed.\n")
    assert "not ok" not in said
    assert set(SCRIPTS) == {path.stem for path in HERE.glob("*.sh")} - {"lib", "run"}


def test_with_a_server_of_its_own(environ):
    code, said = run("run.sh", environ)

    assert code == 0, said
    assert said.endswith("All passed.\n")


def test_a_failure_is_told(serve, new_license):
    """A script that cannot fail would prove nothing: here the balance is too small for it."""
    code, said = run("deductions.sh", {"OBOL_URL": serve().url, "OBOL_KEY": new_license(credits=1).raw_key})

    assert code == 1
    assert "not ok 200 http://" in said
    assert said.endswith(" failed\n")


def test_without_an_address_or_a_key():
    code, said = run("health.sh", {"OBOL_KEY": "x"})
    assert code != 0
    assert "OBOL_URL" in said
