"""What is measured, and what it is measured with, each in processes of its own: PostgreSQL with full durability,
an upstream that costs nothing, gunicorn with the project's own configuration, and `wrk` and `pgbench`."""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import urlopen
from uuid import uuid4

from factories import free_port, run, wait_until

from service import keys, migrations
from service.db import Database
from service.dev.embedded import EmbeddedPostgres, wheel_binaries
from service.repository import licenses

from . import ROOT

LICENSES = 10_000
CREDITS = 10**12


class Load(NamedTuple):
    """What `wrk` saw of a round, and what the workers used for it."""

    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


class World:
    """All of it, for a `with`.

    Args:
        environ: settings of Obol besides.
        licenses: how many there are to ask with.
    """

    def __init__(self, licenses: int = LICENSES, **environ: str) -> None:
        self._stack = ExitStack()
        self._licenses = licenses
        self._environ = environ

    def __enter__(self) -> "World":
        with self._stack:
            self._start()
            # All is well: what was begun ends with __exit__.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> None:
        self.wrk = program("wrk", "Debian's package wrk: apt-get install wrk")
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="obol-bench-")))
        self.folder.chmod(0o755)  # the server runs as another user when this runs as root
        postgres = EmbeddedPostgres(self.folder / "data")
        self.urls = postgres.acquire()
        self._stack.callback(postgres.release)
        migrations.upgrade(self.urls.owner)
        self.keys = self._make_licenses()
        self.upstream_url = self._start_upstream()
        self._serve()

    def _make_licenses(self) -> list[str]:
        """Licenses as `obol license create` makes them; their keys, also in `keys.txt`, the first one in `hot.txt`,
        and for pgbench in the table bench.keys."""
        made = [keys.make(uuid4()) for _ in range(self._licenses)]
        # Of what is measured each commit is on the disk; to make it ready need not be.
        quick = Database(f"{self.urls.owner}?options=-csynchronous_commit%3Doff", pool_size=1, wait_s=5)
        for new in made:
            licenses.create(quick, new.digest, name="bench", expires_at=None, credits=CREDITS, fingerprint=b"bench")
        quick.close()
        names = [new.license_key for new in made]
        run(self.urls.owner, "CREATE SCHEMA bench CREATE TABLE keys (number int PRIMARY KEY, key text NOT NULL)")
        run(self.urls.owner, "INSERT INTO bench.keys SELECT n, k FROM unnest(%s) WITH ORDINALITY AS u(k, n)", (names,))
        (self.folder / "keys.txt").write_text("".join(f"{name}\n" for name in names))
        (self.folder / "hot.txt").write_text(f"{names[0]}\n")
        return names

    def _start_upstream(self) -> str:
        port = free_port()
        self.upstream = self._popen([sys.executable, "-m", "bench.upstream", str(port)], "upstream.log", os.environ)
        wait_until(lambda: _listens(port), 20, "the upstream")
        return f"http://127.0.0.1:{port}"

    def _serve(self) -> None:
        port = free_port()
        environ = {
            **os.environ,
            "DATABASE_URL": self.urls.service,
            "OBOL_MIGRATE_URL": self.urls.owner,
            "ANTHROPIC_API_KEY": "bench",
            "ANTHROPIC_BASE_URL": self.upstream_url,
            "OBOL_REPLAY_KEYS": "A" * 43,
            "PORT": str(port),
            **self._environ,
        }
        command = [sys.executable, "-m", "gunicorn", "bench.beside:app"]
        self.master = self._popen(command, "served.log", environ)
        self.url = f"http://127.0.0.1:{port}"
        wait_until(lambda: _is_ready(port), 60, f"{self.url}/readyz")

    def _popen(self, command: list[str], log: str, environ: Any) -> subprocess.Popen[bytes]:
        output = self._stack.enter_context((self.folder / log).open("wb"))
        process = subprocess.Popen(command, cwd=ROOT, env=dict(environ), stdout=output, stderr=subprocess.STDOUT)
        self._stack.callback(end, process)
        return process

    def workers(self) -> list[int]:
        """Pids of gunicorn's workers."""
        children = Path(f"/proc/{self.master.pid}/task/{self.master.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def load(self, clients: int, seconds: float, *call: str, url: str | None = None) -> Load:
        """One round of `wrk`: `call` is what call.lua is told."""
        workers = self.workers()
        before_s = sum(map(cpu_s, workers))
        command = [
            *(self.wrk, "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "30s", "--latency"),
            *("-s", str(ROOT / "bench" / "call.lua"), url or self.url, "--", *call),
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        figures = json.loads(said)
        used_s = sum(map(cpu_s, workers)) - before_s
        if figures["errors"] or not figures["requests"]:
            raise RuntimeError(f"{call}: {figures}; see {self.folder}/served.log")
        return Load(
            1e6 * figures["requests"] / figures["duration_us"],
            figures["p50_us"] / 1000,
            figures["p99_us"] / 1000,
            1e6 * used_s / figures["requests"],
        )

    def pgbench(self, clients: int, seconds: int, script: str) -> float:
        """Transactions a second of a script, each a statement on a connection of its own."""
        file = self.folder / "script.sql"
        file.write_text(script)
        return pgbench(self.urls.owner, file, clients=clients, seconds=seconds)


def pgbench(url: str, script: Path, *, clients: int, seconds: int) -> float:
    """Transactions a second of a script, each client with a connection of its own."""
    command = [
        *(wheel_binaries() / "pgbench", "-n", "-M", "prepared", "-c", str(clients), "-j", "1"),
        *("-T", str(seconds), "-f", script, url),
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (line,) = (line for line in said.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def program(name: str, how: str) -> str:
    """Where a program is, or the end of all."""
    found = shutil.which(name)
    if found is None:
        sys.exit(f"bench: {name} is not on the PATH ({how}).")
    return found


def cpu_s(pid: int) -> float:
    """CPU that a process has used, user and system, by /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pss_mb(pid: int) -> float:
    """A process's memory, with its share of what it shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    (pss,) = (line for line in lines if line.startswith("Pss:"))
    return int(pss.split()[1]) / 1024


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_ready(port: int) -> bool:
    try:
        with urlopen(f"http://127.0.0.1:{port}/readyz") as response:
            return bool(response.status == 200)
    except OSError:
        return False


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a process."""
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
