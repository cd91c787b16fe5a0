"""What tests make: licenses, and servers in processes of their own."""

import os
import random
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen
from uuid import UUID, uuid4

import psycopg2
from warm import Gunicorn

from service import keys
from service.db import Database
from service.keys import KeyDigest
from service.repository import imports, licenses, limits

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class License:
    """A license of a test: its id, a raw key, what the database is asked with, and the id of that key."""

    id: UUID
    raw_key: str
    key: KeyDigest
    key_id: UUID

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.raw_key}"}


def run(url: str, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """One statement on a connection of its own, committed."""
    connection = psycopg2.connect(url)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def make_license(owner: Database, credits: int = 1000, name: str = "", expires_at: datetime | None = None) -> License:
    license_id = uuid4()
    new = keys.make(license_id)
    made = licenses.create(owner, new.digest, name=name, expires_at=expires_at, credits=credits, fingerprint=b"test")
    return License(license_id, new.license_key, new.digest, made.key_id)


def import_license(owner: Database, raw_key: str, credits: int = 1000, **values: Any) -> License:
    digest = keys.parse_imported(raw_key)
    assert digest is not None
    made = imports.import_license(owner, KeyDigest(uuid4(), digest), credits=credits, **values)
    assert made.license_id is not None
    (key,) = limits.list_keys(owner, made.license_id)
    return License(made.license_id, raw_key, KeyDigest(made.license_id, digest), key.key_id)


def free_port() -> int:
    """A port that nobody listens at, below those that the system gives to connections: one would soon have it."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def current_day(lasts_s: float = 30) -> date:
    """The day (UTC) of a test that takes so many seconds at most: shortly before midnight it is waited for the next."""
    left_s = 86_400 - time.time() % 86_400
    if left_s < lasts_s:
        time.sleep(left_s)
    return datetime.now(UTC).date()


def wait_until(condition: Any, timeout_s: float = 15, what: str = "the condition", *, every_s: float = 0.05) -> Any:
    """Ask until `condition()` is true; its value. Fails the test when it does not come."""
    give_up_at = time.monotonic() + timeout_s
    while time.monotonic() < give_up_at:
        if value := condition():
            return value
        time.sleep(every_s)
    raise AssertionError(f"{what} did not come true within {timeout_s} s")


class Served:
    """gunicorn with the project's own configuration, on a free port of loopback.

    Args:
        environ: the settings; nothing else of this process's environment that Obol reads. PORT: another than any
            that is free.
        log: a file for what it prints.
    """

    def __init__(self, environ: dict[str, str], log: Path) -> None:
        self.log = log
        self.port = int(environ.get("PORT") or free_port())
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {**os.environ, "WEB_CONCURRENCY": "1", **environ, "PORT": str(self.port)}
        self.process = Gunicorn(environment, ROOT, log)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log.read_text()
            try:
                return self.get("/readyz")[0] == 200
            except (URLError, ConnectionError):
                return False

        wait_until(ready, 60, f"{self.url}/readyz")

    def get(self, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        return self.request("GET", path, None, headers or {})

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
        return self.request("POST", path, body, {"Content-Type": "application/json", **headers})

    def try_post(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes] | None:
        """As `post`; None when the connection broke."""
        try:
            return self.post(path, body, headers)
        except (URLError, ConnectionError, HTTPException):
            return None

    def request(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        request = Request(self.url + path, data=body, headers=headers, method=method)
        try:
            with urlopen(request, timeout=60) as response:
                return response.status, response.read()
        except HTTPError as error:
            return error.code, error.read()

    def workers(self) -> list[int]:
        """Pids of the worker processes that live."""
        children = subprocess.run(["ps", "-o", "pid=,stat=", "--ppid", str(self.process.pid)], capture_output=True)
        rows = [line.split() for line in children.stdout.decode().splitlines()]
        return [int(pid) for pid, stat in rows if not stat.startswith("Z")]

    def kill_everything(self) -> None:
        """SIGKILL for the master and its workers at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> None:
        if self.process.poll() is None:
            for pid in self.workers():
                os.kill(pid, signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill_everything()
