"""PgBouncer in transaction mode, where it is installed (Debian: `apt-get install pgbouncer`): in front of the
PostgreSQL of the tests, and for every database there. A file or folder that has `urls` from here runs each of its
tests twice: directly, and through it."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from factories import free_port, wait_until

from service.dev.embedded import Urls

# Debian puts it where ordinary users do not look.
PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

__all__ = ["pgbouncer", "urls"]

needs_pgbouncer = pytest.mark.skipif(
    PROGRAM is None, reason="PgBouncer is not installed: apt-get install -y --no-install-recommends pgbouncer"
)

# More than any test has calls at once in the database: who waits for a lock there keeps a connection.
_CONNECTIONS = 40


class PgBouncer:
    """A pooler that lends a connection for a transaction at a time.

    Args:
        server: urls of any database of the server.
    """

    def __init__(self, server: Urls) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="obol-pgbouncer-"))
        self._port = free_port()
        logins = [urlsplit(url) for url in (server.owner, server.service)]
        (self._folder / "users").write_text("".join(f'"{login.username}" "{login.password}"\n' for login in logins))
        (self._folder / "ini").write_text(f"""
            [databases]
            * = host=127.0.0.1 port={logins[0].port}
            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {self._port}
            unix_socket_dir =
            auth_type = scram-sha-256
            auth_file = {self._folder / "users"}
            pool_mode = transaction
            default_pool_size = {_CONNECTIONS}
            max_client_conn = 1000
            # A server that comes back is found again at once.
            server_login_retry = 0.1
        """)
        self._user = None
        if os.geteuid() == 0:
            # As PostgreSQL it does not run as root.
            nobody = pwd.getpwnam("nobody")
            self._user = nobody.pw_name
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, nobody.pw_uid, nobody.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, on the port of the last time."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [str(PROGRAM), str(self._folder / "ini")],
                user=self._user,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, 30, f"PgBouncer of {self._folder}")

    def through(self, urls: Urls) -> Urls:
        """The way to a database through it."""
        return Urls(*(url.replace(f":{urlsplit(url).port}/", f":{self._port}/") for url in (urls.owner, urls.service)))

    def kill(self) -> None:
        """kill -9: every connection through it is cut, whatever it is in the middle of."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(10)

    def stop(self) -> None:
        self.kill()
        shutil.rmtree(self._folder)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        with suppress(OSError):
            socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
            return True
        return False


@pytest.fixture(scope="session")
def pgbouncer(server_urls: Urls) -> Iterator[PgBouncer]:
    """A PgBouncer that nobody kills."""
    pooler = PgBouncer(server_urls)
    yield pooler
    pooler.stop()


@pytest.fixture(params=["direct", pytest.param("pgbouncer", marks=needs_pgbouncer)])
def urls(request: pytest.FixtureRequest, urls: Urls) -> Urls:
    """The way to the test's own database, for the service, the operator and the test itself."""
    if request.param == "direct":
        return urls
    pooler: PgBouncer = request.getfixturevalue("pgbouncer")
    return pooler.through(urls)
