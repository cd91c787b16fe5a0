"""kill -9, SIGSTOP, SIGTERM and a dead PostgreSQL in the middle of a stream."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import islice

import psycopg2
import pytest
from factories import wait_until
from wire_client import Exchange, ask, name_of, told

# Nine events for 23 credits; when they come is the pace's business.
DIRECTIVES = "[sandbox input_tokens=20] [sandbox output_tokens=3] [sandbox event_delay_ms=1]"
BODY = json.dumps(
    {
        "model": "claude-sonnet-5-5",
        "max_tokens": 50,
        "stream": True,
        "messages": [{"role": "user", "content": f"{DIRECTIVES} Hello"}],
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


class Stream:
    """A stream whose first three events have been read, and what comes of the rest."""

    def __init__(self, exchange):
        self.exchange = exchange
        self._events = exchange.events()
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
def begin(pace):
    """`begin(served, headers)`: a Stream, hung up after the test."""
    begun = []

    def begin(served, headers):
        exchange = Exchange(served.port, BODY, headers)
        # Before the second event, and before the third.
        pace.step(2)
        begun.append(Stream(exchange))
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


def test_each_event_leaves_when_it_comes(serve, pace, headers, upstream):
    served = serve()

    with Exchange(served.port, BODY, headers) as exchange:
        events = exchange.events()
        names = []
        for _ in range(BEFORE_CHARGE):
            # The upstream has sent no more than this one yet.
            names.append(name_of(next(events)))
            pace.step()
        pace.go_on()
        names += [name_of(event) for event in events if not event.startswith(b":")]

    assert names == [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


def test_kill_9_of_a_worker_leaves_no_end_and_no_charge_and_a_retry_works(
    begin, serve, pace, headers, holds, charges, verified
):
    served = serve()
    stream = begin(served, headers)
    (worker,) = served.workers()

    os.kill(worker, signal.SIGKILL)

    events = stream.rest()
    assert events.pop() == b"", "the connection broke"
    assert "message_delta" not in {name_of(event) for event in events}
    # One lease and one beat, and the start of the next worker.
    wait_until(lambda: holds() == ["expired"], 60, "the hold of the dead worker given back")
    assert charges() == []
    verified()
    pace.go_on()
    retried = ask(served.port, BODY, headers)
    assert retried.whole
    assert not retried.replayed
    assert charges() == [COST]
    assert ask(served.port, BODY, headers).body == retried.body
    assert charges() == [COST]


@pytest.fixture
def stopped(begin, serve, pace, headers, holds):
    """A stream whose process was stopped past its lease, that process's server, and another one
    that has taken the hold away."""
    first, second = serve(), serve()
    stream = begin(first, headers)
    stop_workers(first)
    wait_until(lambda: holds() == ["expired"], what="the hold taken from the stopped process")
    # The rest of the stream waits for the process to wake up.
    pace.go_on()
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


def test_sigterm_lets_a_running_stream_finish(begin, serve, pace, terminate, headers, holds, charges, sql, verified):
    served = serve()
    stream = begin(served, headers)

    terminate(served)
    pace.go_on()

    assert told(stream.rest()) == (True, EVENTS, None)
    stream.exchange.hang_up()
    assert served.process.wait(60) == 0
    assert charges() == [COST]
    assert holds() == ["settled"]
    # The last heartbeat noted the delivery.
    assert sql("SELECT count(*) FROM obol.holds WHERE delivered_at IS NULL") == [(0,)]
    verified()


def test_a_stream_whose_end_meets_a_dead_database_waits_and_is_charged_once(mortal, begin, serve, pace, upstream):
    served = serve(DATABASE_URL=mortal.urls.service, OBOL_LEASE_S="30")
    stream = begin(served, mortal.license.headers | {"Idempotency-Key": "k"})

    with ThreadPoolExecutor(1) as pool:
        rest = pool.submit(stream.rest)
        mortal.kill()
        pace.go_on()
        wait_until(lambda: upstream.used, what="the upstream's end while the database is down")
        assert not rest.done()
        mortal.start_again()
        events = rest.result(60)

    assert told(events) == (True, EVENTS, None)
    assert mortal.books() == (10_000 - COST, 0, 1)
    assert mortal.findings() == []


def test_a_stream_whose_database_stays_dead_ends_in_an_error_and_is_not_charged(mortal, begin, serve, pace):
    served = serve(DATABASE_URL=mortal.urls.service, OBOL_LEASE_S="2")
    headers = mortal.license.headers | {"Idempotency-Key": "k"}
    stream = begin(served, headers)

    mortal.kill()
    pace.go_on()
    events = stream.rest()
    assert told(events) == (False, BEFORE_CHARGE, "api_error")
    mortal.start_again()

    def given_back():
        try:
            return mortal.books() == (10_000, 0, 0)
        except psycopg2.OperationalError:
            return False

    wait_until(given_back, what="the hold given back")
    assert ask(served.port, BODY, headers).whole
    assert mortal.books() == (10_000 - COST, 0, 1)
    assert mortal.findings() == []
