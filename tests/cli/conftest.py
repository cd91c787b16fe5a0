"""What the tests of the `obol` command share: the command in this process, and as a program."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from service import cli
from service.dev.embedded import Urls

sys.path.insert(0, str(Path(__file__).parent))

from ended import OBOL, Ended


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Ended]]:
    """`bare(*arguments, **environment)`: the command in this process, with nothing else set."""
    before = dict(os.environ)

    def run(*arguments: Any, **environment: str) -> Ended:
        os.environ.update(environment)
        monkeypatch.setattr(sys, "argv", ["obol", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        os.environ.clear()
        os.environ.update(before)
        return Ended(ended.value.code or 0, *printed)

    yield run
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def obol(bare: Callable[..., Ended], urls: Urls) -> Callable[..., Ended]:
    """`obol(*arguments, **environment)`: the command against the test's database."""
    return lambda *arguments, **environment: bare(
        *arguments, **{"DATABASE_URL": urls.service, "OBOL_MIGRATE_URL": urls.owner} | environment
    )


@pytest.fixture
def program() -> Callable[..., Ended]:
    """`program(*arguments, **environment)`: the installed command, in a process of its own."""

    def run(*arguments: Any, **environment: str) -> Ended:
        ended = subprocess.run(
            [OBOL, *map(str, arguments)],
            capture_output=True,
            env={"PATH": os.environ["PATH"]} | environment,
            cwd="/",
            timeout=60,
            text=True,
        )
        return Ended(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`started(*arguments, **environment)`: the command as a running process, ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def start(*arguments: Any, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [OBOL, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd="/",
            text=True,
            start_new_session=True,
        )
        running.append(process)
        return process

    yield start
    for process in running:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=10)
