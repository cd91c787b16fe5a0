"""kill -9, SIGSTOP, SIGTERM and a dead PostgreSQL in the middle of a stream."""

import json
import os
import shutil
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import islice, pairwise
from pathlib import Path

import psycopg2
import pytest
from factories import make_license, run, wait_until
from wire_client import Exchange, ask, name_of, told

from service import migrations
from service.db import Database
from service.embedded import EmbeddedPostgres
from service.repository import credits

# Nine events in two seconds and a half, and 23 credits.
BODY = json.dumps(
    {
        "model": "claude-sonnet-5-5",
        "max_tokens": 50,
        "stream": True,
        "messages": [
            {
                "role": "user",
                "content": "[sandbox input_tokens=20] [sandbox output_tokens=3] [sandbox event_delay_ms=300] Hello",
            }
        ],
    }
).encode()
COST = 23
EVENTS = 9
BEFORE_CHARGE = 7


@pytest.fixture
def license(new_license):
    return new_license(credits=10_000)


@pytest.fixture
def headers(license):
    return license.headers | {"Idempotency-Key": "k"}


@pytest.fixture
def holds(sql):
    """`holds()`: the states of all holds, in the order of their opening."""
    return lambda: [state for (state,) in sql("SELECT state FROM obol.holds ORDER BY opened_at")]


@pytest.fixture
def charges(sql):
    return lambda: [charge for (charge,) in sql("SELECT -amount FROM obol.ledger_entries WHERE kind = 'charge'")]


class Stream:
    """A stream whose first three events have been read, and what comes of the rest."""

    def __init__(self, served, headers):
        self.exchange = Exchange(served.port, BODY, headers)
        self._events = self.exchange.events()
        self._read = list(islice(self._events, 3))
        assert name_of(self._read[-1]) == "ping"

    def rest(self):
        """All that came, without comments, until the end or the break of the connection."""
        try:
            for event in self._events:
                self._read.append(event)
        except (OSError, HTTPException):
            self._read.append(b"")
        return [event for event in self._read if not event.startswith(b":")]


@pytest.fixture
def begin():
    """`begin(served, headers)`: a Stream, hung up after the test."""
    begun = []

    def begin(served, headers):
        begun.append(Stream(served, headers))
        return begun[-1]

    yield begin
    for stream in begun:
        stream.exchange.hang_up()


def stop_workers(served):
    for worker in served.workers():
        os.kill(worker, signal.SIGSTOP)


def wake_workers(served):
    for worker in served.workers():
        os.kill(worker, signal.SIGCONT)


def test_each_event_leaves_when_it_comes(serve, headers):
    served = serve()

    with Exchange(served.port, BODY, headers) as exchange:
        came_at = [time.monotonic() for _ in exchange.events()]

    # The last two and the comment come together; between the others the upstream waits 0.3 s.
    waits = [after - before for before, after in pairwise(came_at[:BEFORE_CHARGE])]
    assert min(waits) > 0.1
    assert max(waits) < 1


def test_kill_9_of_a_worker_leaves_no_end_and_no_charge_and_a_retry_works(
    begin, serve, headers, holds, charges, verified
):
    served = serve()
    stream = begin(served, headers)
    (worker,) = served.workers()

    os.kill(worker, signal.SIGKILL)

    events = stream.rest()
    assert events.pop() == b"", "the connection broke"
    assert "message_delta" not in {name_of(event) for event in events}
    # One lease and one beat, and the start of the next worker.
    wait_until(lambda: holds() == ["expired"], 8, "the hold of the dead worker given back")
    assert charges() == []
    verified()
    retried = ask(served.port, BODY, headers)
    assert retried.whole
    assert not retried.replayed
    assert charges() == [COST]
    assert ask(served.port, BODY, headers).body == retried.body
    assert charges() == [COST]


@pytest.fixture
def stopped(begin, serve, headers, holds):
    """A stream whose process was stopped past its lease, that process's server, and another one
    that has taken the hold away."""
    first, second = serve(), serve()
    stream = begin(first, headers)
    stop_workers(first)
    wait_until(lambda: holds() == ["expired"], what="the hold taken from the stopped process")
    yield stream, first, second
    wake_workers(first)


def test_a_stopped_process_that_wakes_after_a_retry_delivers_no_end(
    stopped, headers, upstream, holds, charges, verified
):
    stream, first, second = stopped
    retried = ask(second.port, BODY, headers)
    assert retried.whole
    assert charges() == [COST]

    wake_workers(first)

    events = stream.rest()
    assert told(events) == (False, BEFORE_CHARGE, "api_error")
    assert charges() == [COST]
    assert upstream.calls == 2
    wait_until(lambda: holds() == ["released", "settled"], what="the late hold closed for good")
    assert ask(second.port, BODY, headers).body == retried.body
    assert charges() == [COST]
    verified()


def test_a_stopped_process_that_wakes_first_is_paid_and_its_stream_replayed(
    stopped, headers, upstream, holds, charges, verified
):
    stream, first, second = stopped

    wake_workers(first)

    events = stream.rest()
    assert told(events) == (True, EVENTS, None)
    assert charges() == [COST]
    assert holds() == ["settled"]
    again = ask(second.port, BODY, headers)
    assert again.replayed
    assert again.body == b"".join(events)
    assert upstream.calls == 1
    assert charges() == [COST]
    verified()


def test_sigterm_lets_a_running_stream_finish(begin, serve, headers, holds, charges, sql, verified):
    served = serve()
    stream = begin(served, headers)

    served.process.terminate()

    assert told(stream.rest()) == (True, EVENTS, None)
    stream.exchange.hang_up()
    assert served.process.wait(15) == 0
    assert charges() == [COST]
    assert holds() == ["settled"]
    # The last heartbeat noted the delivery.
    assert sql("SELECT count(*) FROM obol.holds WHERE delivered_at IS NULL") == [(0,)]
    verified()


@pytest.fixture
def cluster():
    """A PostgreSQL of the test's own, to be killed."""
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    # The server runs as another user when the tests run as root.
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder)
    yield server
    server.release()
    shutil.rmtree(folder)


@pytest.fixture
def mortal(cluster):
    """The urls of that PostgreSQL, migrated, a license in it, and `kill()`."""
    urls = cluster.acquire()
    migrations.upgrade(urls.owner)
    owner = Database(urls.owner, pool_size=1, wait_s=5)
    license = make_license(owner, credits=10_000)
    owner.close()
    (postmaster,) = run(urls.owner, "SELECT pg_read_file('postmaster.pid')")[0]
    return urls, license, lambda: os.kill(int(postmaster.splitlines()[0]), signal.SIGKILL)


def books(urls):
    (row,) = run(
        urls.owner,
        "SELECT balance, held, (SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge') FROM obol.licenses",
    )
    return row


def findings(urls):
    owner = Database(urls.owner, pool_size=1, wait_s=5)
    try:
        return credits.verify(owner)
    finally:
        owner.close()


def test_a_stream_whose_end_meets_a_dead_database_waits_and_is_charged_once(cluster, mortal, begin, serve):
    urls, license, kill = mortal
    served = serve(DATABASE_URL=urls.service, OBOL_LEASE_S="30")
    stream = begin(served, license.headers | {"Idempotency-Key": "k"})

    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(stream.rest)
        kill()
        time.sleep(3)  # the upstream's end comes in while the database is down
        assert not rest.done()
        assert cluster.acquire() == urls
        events = rest.result(30)

    assert told(events) == (True, EVENTS, None)
    assert books(urls) == (10_000 - COST, 0, 1)
    assert findings(urls) == []


def test_a_stream_whose_database_stays_dead_ends_in_an_error_and_is_not_charged(cluster, mortal, begin, serve):
    urls, license, kill = mortal
    served = serve(DATABASE_URL=urls.service, OBOL_LEASE_S="2")
    headers = license.headers | {"Idempotency-Key": "k"}
    stream = begin(served, headers)

    kill()
    events = stream.rest()
    assert told(events) == (False, BEFORE_CHARGE, "api_error")
    assert cluster.acquire() == urls

    def given_back():
        try:
            return books(urls) == (10_000, 0, 0)
        except psycopg2.OperationalError:
            return False

    wait_until(given_back, what="the hold given back")
    assert ask(served.port, BODY, headers).whole
    assert books(urls) == (10_000 - COST, 0, 1)
    assert findings(urls) == []
