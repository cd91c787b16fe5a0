"""An upstream that sends too much, for too long, or what it was not asked for: over a socket, as it would."""

import json
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from contextlib import suppress

import pytest

from service.gateway import upstream
from service.gateway.upstream import Upstream
from service.problems import Problem

MESSAGES = "/v1/messages"
REQUEST = json.dumps({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "a secret"}]}).encode()
EVENTS, JSON = "text/event-stream", "application/json"
PING = b'event: ping\ndata: {"type": "ping"}\n\n'
ERROR = b'{"type": "error", "error": {"type": "x", "message": "Words."}}'

# No test sends more, or for longer, than this, whatever the service does.
MOST_SENT, LONGEST_S = 100 * 1024 * 1024, 30


@pytest.fixture
def sending():
    """`sending(status, content_type, pieces, encoding=None, pause_s=0)`: a client of an upstream that sends
    these pieces, as they are, until they end or the client has gone; `.gone` is set by then."""
    listening, threads = [], []

    def start(status, content_type, pieces, encoding=None, pause_s=0):
        server = socket.create_server(("127.0.0.1", 0))
        listening.append(server)
        client = Upstream("our-key", f"http://127.0.0.1:{server.getsockname()[1]}", 10)
        client.gone, client.asked = threading.Event(), b""

        def serve():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                # What is left unread would reset the connection.
                while not client.asked.endswith(b"\r\n\r\n" if client.asked.startswith(b"GET") else REQUEST):
                    client.asked += connection.recv(100_000)
                coding = f"content-encoding: {encoding}\r\n" if encoding else ""
                connection.sendall(
                    f"HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\n{coding}"
                    "request-id: req_theirs\r\nconnection: close\r\n\r\n".encode()
                )
                sent, give_up_at = 0, time.monotonic() + LONGEST_S
                for piece in pieces:
                    if sent > MOST_SENT or time.monotonic() > give_up_at:
                        break
                    connection.sendall(piece)
                    sent += len(piece)
                    time.sleep(pause_s)
            client.gone.set()

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return client

    yield start
    for server in listening:
        server.close()
    for thread in threads:
        thread.join(LONGEST_S)


def endless(piece):
    while True:
        yield piece


def failure(act, *arguments):
    with pytest.raises(Problem) as failed:
        act(*arguments)
    assert "Nothing was charged." in failed.value.detail
    return failed.value


def streamed(client):
    return list(client.stream(MESSAGES, REQUEST, {}))


def posted(client):
    return client.post(MESSAGES, REQUEST, {})


def got(client):
    return client.get("/v1/models", {})


def bomb():
    """Three gigabytes of spaces, in three megabytes."""
    squeezer = zlib.compressobj(9, zlib.DEFLATED, 31)
    first, again = (squeezer.compress(b" " * 1024 * 1024) + squeezer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 3 * 1024 * again


@pytest.fixture(scope="module")
def squeezed():
    return bomb()


@pytest.mark.parametrize(
    ("act", "status", "content_type"),
    [(posted, 200, JSON), (got, 200, JSON), (streamed, 200, EVENTS), (posted, 500, JSON), (streamed, 500, JSON)],
)
def test_what_is_compressed_is_not_unpacked(sending, squeezed, act, status, content_type):
    client = sending(status, content_type, [squeezed], encoding="gzip")

    tracemalloc.start()
    try:
        problem = failure(act, client)
        assert tracemalloc.get_traced_memory()[1] < 16 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert (problem.code, "could not be read" in problem.detail) == ("upstream_error", True)
    assert b"accept-encoding: identity" in client.asked.lower()


@pytest.mark.parametrize(
    ("act", "status", "content_type", "limit", "piece"),
    [
        (posted, 200, JSON, "MOST_BYTES", b" " * 1024),
        (got, 200, JSON, "MOST_BYTES", b" " * 1024),
        # Read whole, it is not allowed what a stream is.
        (posted, 200, EVENTS, "MOST_BYTES", b" " * 1024),
        (posted, 503, JSON, "MOST_ERROR_BYTES", b"busy " * 200),
        (streamed, 429, JSON, "MOST_ERROR_BYTES", b"busy " * 200),
        (streamed, 200, EVENTS, "MOST_STREAM_BYTES", PING * 30),
    ],
)
def test_a_body_without_end_is_given_up(sending, monkeypatch, act, status, content_type, limit, piece):
    monkeypatch.setattr(upstream, limit, 64 * 1024)
    client = sending(status, content_type, endless(piece))

    assert "could not be read" in failure(act, client).detail
    assert client.gone.wait(LONGEST_S)


@pytest.mark.parametrize(("act", "content_type"), [(posted, JSON), (got, JSON), (streamed, EVENTS)])
def test_a_body_of_just_the_limit_is_taken(sending, monkeypatch, act, content_type):
    monkeypatch.setattr(upstream, "MOST_BYTES", 10 * len(PING))
    monkeypatch.setattr(upstream, "MOST_STREAM_BYTES", 10 * len(PING))

    answer = act(sending(200, content_type, [PING] * 10))
    assert answer == PING * 10 or [event.raw for event in answer] == [PING] * 10
    assert "could not be read" in failure(act, sending(200, content_type, [PING] * 10 + [b":"])).detail


@pytest.mark.parametrize(
    ("act", "status", "content_type", "piece"),
    [
        (posted, 200, JSON, b" "),
        (streamed, 200, EVENTS, b":"),
        (streamed, 200, EVENTS, PING),
        (posted, 500, JSON, b"b"),
    ],
)
def test_what_comes_a_little_at_a_time_for_ever_takes_too_long(sending, monkeypatch, act, status, content_type, piece):
    monkeypatch.setattr(upstream, "LONGEST_ANSWER_S", 0.5)
    client = sending(status, content_type, endless(piece), pause_s=0.02)

    problem = failure(act, client)
    assert (problem.code, problem.retry_after) == ("upstream_timeout", 1)
    assert client.gone.wait(LONGEST_S)


def test_the_limits_are_far_above_any_answer():
    assert upstream.MOST_BYTES >= 32 * 1024 * 1024
    assert upstream.MOST_STREAM_BYTES >= 512 * 1024 * 1024
    # An answer of 128,000 tokens at 40 a second takes 53 minutes.
    assert upstream.LONGEST_ANSWER_S >= 3600


def test_the_sdk_logs_no_body_whatever_its_environment_says():
    # It looks at the variable when it is imported.
    program = f"""
import sys
from service.gateway.upstream import Upstream
from service.problems import Problem
try:
    Upstream("our-key", "http://127.0.0.1:9", 1).post("/v1/messages", {REQUEST!r}, {{}})
except Problem as problem:
    print(problem.code)
"""
    ran = subprocess.run(
        [sys.executable, "-c", program], env={"ANTHROPIC_LOG": "debug"}, capture_output=True, text=True, check=True
    )
    assert "upstream_error" in ran.stdout
    assert "secret" not in ran.stdout + ran.stderr
    assert "our-key" not in ran.stdout + ran.stderr
