"""What the tests of faults share: a model that waits for the test's word, a PostgreSQL to be killed,
and what has become of holds and charges."""

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from factories import License, Served, make_license, run, wait_until

from service import migrations
from service.db import Database
from service.dev.embedded import EmbeddedPostgres, Urls

_BOOKS = "SELECT balance, held, (SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge') FROM obol.licenses"


@pytest.fixture
def holds(sql: Callable[..., Any]) -> Callable[[], list[str]]:
    """`holds()`: the states of all holds, in the order of their opening."""
    return lambda: [state for (state,) in sql("SELECT state FROM obol.holds ORDER BY opened_at")]


@pytest.fixture
def charges(sql: Callable[..., Any]) -> Callable[[], list[int]]:
    """`charges()`: what each charge in the ledger took."""
    return lambda: [charge for (charge,) in sql("SELECT -amount FROM obol.ledger_entries WHERE kind = 'charge'")]


@dataclass
class Mortal:
    """A PostgreSQL that can be killed, and a license with 10 000 credits in it."""

    cluster: EmbeddedPostgres
    urls: Urls
    license: License

    def kill(self) -> None:
        """kill -9, for the whole of it."""
        ((pid_file,),) = run(self.urls.owner, "SELECT pg_read_file('postmaster.pid')")
        postmaster = pid_file.splitlines()[0]
        listed = subprocess.run(["ps", "-o", "pid=", "--ppid", postmaster], capture_output=True, text=True, check=True)
        # Without its postmaster, what works for a client goes on for a moment, and may settle what it was asked to.
        for pid in (postmaster, *listed.stdout.split()):
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def start_again(self) -> None:
        assert self.cluster.acquire() == self.urls

    def books(self) -> tuple[int, int, int]:
        """Balance, held, and the number of charges."""
        ((balance, held, charges),) = run(self.urls.owner, _BOOKS)
        return balance, held, charges

    def findings(self) -> list[Any]:
        """What `obol verify` finds."""
        return run(self.urls.owner, "SELECT * FROM obol.verify()")


@pytest.fixture
def mortal(cluster: EmbeddedPostgres) -> Mortal:
    urls = cluster.acquire()
    migrations.upgrade(urls.owner)
    owner = Database(urls.owner, pool_size=1, wait_s=5)
    license = make_license(owner, credits=10_000)
    owner.close()
    return Mortal(cluster, urls, license)


@pytest.fixture
def terminate() -> Callable[[Served], None]:
    """`terminate(served)`: SIGTERM; returns when the server knows that it has to stop."""

    def send(served: Served) -> None:
        served.process.terminate()
        wait_until(lambda: "Handling signal: term" in served.log.read_text(), what="the signal's line in the log")

    return send
