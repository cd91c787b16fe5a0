"""Two PostgreSQL servers with streaming replication, the first of which can be killed and the second promoted."""

import os
import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from factories import free_port, run, wait_until

from service.dev.embedded import EmbeddedPostgres, Urls, _server_user

_STREAMS = "SELECT state, sync_state FROM pg_stat_replication WHERE application_name = 'standby'"


class Pair:
    """A primary and its standby, on one machine. The programs are those that the cluster was started with.

    Args:
        cluster: the primary, which is started.
        synchronous: whether a commit waits for the standby.
    """

    def __init__(self, cluster: EmbeddedPostgres, *, synchronous: bool) -> None:
        self._urls = cluster.acquire()
        base = cluster._base()
        self._bin = cluster._reachable_binaries(base)
        self._folder = base / "standby"
        self._port = free_port()
        self._is_up = False
        owner = urlsplit(self._urls.owner)
        where = f"host=127.0.0.1 port={owner.port} user={owner.username} password={owner.password}"
        self._run("pg_basebackup", "-d", where, "-D", str(self._folder), "-R", "-X", "stream", "-c", "fast")
        # By this name the standby is known to the primary.
        options = f"-p {self._port} -c cluster_name=standby -c listen_addresses=127.0.0.1 -c unix_socket_directories="
        self._run("pg_ctl", "start", "-w", "-D", str(self._folder), "-l", str(base / "standby.log"), "-o", options)
        self._is_up = True
        if synchronous:
            run(self._urls.owner, "ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            run(self._urls.owner, "SELECT pg_reload_conf()")
        wanted = [("streaming", "sync" if synchronous else "async")]
        wait_until(lambda: run(self._urls.owner, _STREAMS) == wanted, 30, "the standby's stream")

    @property
    def urls(self) -> Urls:
        """Whichever of the two takes writes."""
        return Urls(*(self._both(url) for url in (self._urls.owner, self._urls.service)))

    @property
    def primary(self) -> Urls:
        return self._urls

    def kill_primary(self) -> None:
        """kill -9, for all of it, the sender of the stream first: what it has not sent is not sent."""
        ((pid_file,),) = run(self._urls.owner, "SELECT pg_read_file('postmaster.pid')")
        postmaster = pid_file.splitlines()[0]
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", postmaster], capture_output=True, text=True, check=True)
        for pid in (postmaster, *listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def stop_sending(self) -> None:
        """From now on the standby gets nothing: its stream's sender is stopped."""
        ((pid,),) = run(self._urls.owner, "SELECT pid FROM pg_stat_replication WHERE application_name = 'standby'")
        os.kill(pid, signal.SIGSTOP)

    def promote(self) -> None:
        """Make the standby a primary; returns when it takes writes."""
        self._run("pg_ctl", "promote", "-w", "-D", str(self._folder))

    def stop(self) -> None:
        if self._is_up:
            self._run("pg_ctl", "stop", "-m", "immediate", "-w", "-D", str(self._folder))
        shutil.rmtree(self._folder)

    def _both(self, url: str) -> str:
        host = f"127.0.0.1:{urlsplit(url).port}"
        return url.replace(host, f"{host},127.0.0.1:{self._port}") + "?target_session_attrs=read-write"

    def _run(self, program: str, *arguments: str) -> None:
        user = _server_user()
        identity: dict[str, Any] = (
            {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        )
        with Path(os.devnull).open("w") as nothing:
            subprocess.run(
                [self._bin / program, *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=nothing,
                cwd="/",
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                **identity,
            )


def answers(url: str) -> bool:
    """Whether one of the two takes writes."""
    with suppress(psycopg2.OperationalError):
        return run(url, "SELECT 1") == [(1,)]
    return False
