"""How requests arrive and clients are seen off, by a real server."""

import json
import re
import socket
import time
from http.client import HTTPConnection

import pytest
from factories import wait_until
from one_server import *  # noqa: F403 - all of its fixtures

ENVIRON = {"OBOL_THREADS": "2"}

MEBIBYTE = 1024 * 1024


@pytest.fixture
def connect(served):
    """`connect(bytes)`: a connection on which so much was sent."""
    connections = []

    def send(request):
        connections.append(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        connections[-1].sendall(request)
        return connections[-1]

    yield send
    for connection in connections:
        connection.close()


def head(license, *lines, path="/api/v1/deductions"):
    given = ["Host: localhost", "Content-Type: application/json", f"Authorization: Bearer {license.raw_key}", *lines]
    return "\r\n".join([f"POST {path} HTTP/1.1", *given, "", ""]).encode()


def read_answer(connection):
    """Status and document of one answer."""
    received = b""
    while not received.endswith(b"}\n"):
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    header, _, body = received.rpartition(b"\r\n\r\n")
    statuses = re.findall(rb"HTTP/1.1 (\d{3})", header)
    return int(statuses[-1]), json.loads(body)


def read_to_the_end(connection):
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize(("path", "size"), [("/api/v1/deductions", 2), ("/api/v1/generate", 40)])
def test_who_sends_too_much_can_send_it_and_reads_why_it_was_refused(connect, new_license, path, size):
    connection = connect(head(new_license(), f"Content-Length: {size * MEBIBYTE}", path=path))
    for _ in range(size):
        connection.sendall(b" " * MEBIBYTE)

    status, document = read_answer(connection)

    assert (status, document["code"]) == (413, "payload_too_large")
    assert connection.recv(1) == b"", "what was sent after the refusal is read, and then the connection ends"


def test_who_sends_without_end_is_cut_off(connect, new_license):
    connection = connect(head(new_license(), f"Content-Length: {2**40}"))

    with pytest.raises(OSError, match=r"reset|pipe"):  # noqa: PT012 (it ends somewhere in the middle)
        for _ in range(1000):
            connection.sendall(b" " * MEBIBYTE)


@pytest.mark.parametrize("path", ["/v1/messages", "/api/v1/generate"])
def test_a_call_beyond_all_threads_is_refused_while_the_others_go_on(served, connect, new_license, upstream, path):
    def asked(prompt, path="/v1/messages"):
        message = {"model": "m", "max_tokens": 20, "messages": [{"role": "user", "content": prompt}]}
        body = json.dumps(message if path.startswith("/v1/") else {"prompt": prompt}).encode()
        return connect(head(new_license(credits=10_000), f"Content-Length: {len(body)}", path=path) + body)

    # Of two threads a license may have one.
    slow = [asked("[sandbox delay_ms=5000]") for _ in range(2)]
    wait_until(lambda: len(upstream.received) == 2)

    header, _, body = read_to_the_end(asked("Hello", path)).partition(b"\r\n\r\n")

    assert header.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 1\r\n" in header
    document = json.loads(body)
    assert (document.get("code") or document["error"]["details"]["error_code"]) == "over_capacity"
    # Nobody should restart what is only busy.
    assert [served.get(path)[0] for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    assert len(upstream.received) == 2
    for connection in slow:
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_a_refused_client_that_does_not_close_keeps_nobody(served, connect, new_license):
    stay = [connect(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") for _ in range(20)]

    assert all(b" 404 " in read_to_the_end(connection) for connection in stay)
    # They have not closed their side, and two threads and the main one are there for others.
    assert served.get("/healthz")[0] == 200


def test_requests_in_pieces_and_several_at_once_are_answered_in_turn(connect, new_license, sql):
    license = new_license(credits=100)
    one = head(license, "Content-Length: 13") + b'{"amount": 1}'
    in_chunks = head(license, "Transfer-Encoding: chunked") + b'5\r\n{"amo\r\n8\r\nunt": 2}\r\n0\r\n\r\n'
    requests = one + one + in_chunks + head(license, "Content-Length: 13", "Connection: close") + b'{"amount": 3}'

    connection = connect(b"")
    for begin in range(0, len(requests), 7):
        connection.sendall(requests[begin : begin + 7])

    assert read_to_the_end(connection).count(b" 200 OK") == 4
    assert sql("SELECT balance FROM obol.licenses WHERE license_id = %s", (str(license.id),)) == [(93,)]


def test_a_client_that_waits_to_be_told_is_told(connect, new_license):
    connection = connect(head(new_license(), "Content-Length: 13", "Expect: 100-continue"))
    assert connection.recv(100).startswith(b"HTTP/1.1 100 Continue\r\n\r\n")

    connection.sendall(b'{"amount": 1}')

    assert read_answer(connection)[0] == 200


@pytest.mark.parametrize(
    "request_",
    [b"GET /healthz HTTP/1.1\r\nX-Long: " + b"a" * 70_000, b"GET /healthz HTTP/1.1\r\nX-Slow: "],
    ids=["too long", "too slow"],
)
def test_a_header_that_does_not_end_is_refused_with_a_word(connect, request_):
    received = read_to_the_end(connect(request_))

    assert received.startswith(b"HTTP/1.1 400 ")
    assert json.loads(received.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"


def test_who_says_nothing_is_closed_without_a_word(connect):
    assert read_to_the_end(connect(b"")) == b""


def test_who_leaves_in_the_middle_of_a_header_is_forgotten(served, connect):
    connect(b"GET /heal").close()
    connection = connect(b"GET /heal")
    connection.shutdown(socket.SHUT_WR)
    assert read_to_the_end(connection) == b""
    assert served.get("/healthz")[0] == 200


def test_a_server_that_ends_does_not_wait_for_who_has_said_nothing(serve, connect_to):
    served = serve()
    silent = [connect_to(served) for _ in range(3)]
    wait_until(lambda: served.get("/healthz")[0] == 200)

    served.process.terminate()

    assert served.process.wait(9) == 0
    assert [connection.recv(1) for connection in silent] == [b""] * 3


def test_a_server_with_all_its_connections_taken_closes_the_oldest_that_waits(serve, connect_to):
    served = serve(GUNICORN_CMD_ARGS="--worker-connections=20")
    silent = [connect_to(served) for _ in range(40)]

    assert served.get("/healthz")[0] == 200
    assert silent[0].recv(1) == b""


WATCHING = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_kept_connections_that_ask_nothing_leave_room_for_who_does(serve, connect_to, new_license, upstream):
    served = serve(GUNICORN_CMD_ARGS="--worker-connections=20", OBOL_THREADS="1")
    message = {"role": "user", "content": "[sandbox delay_ms=15000]"}
    body = json.dumps({"model": "m", "max_tokens": 20, "messages": [message]}).encode()
    busy = connect_to(served)
    busy.sendall(head(new_license(credits=10_000), f"Content-Length: {len(body)}", path="/v1/messages") + body)
    wait_until(lambda: upstream.received)
    for _ in range(19):
        kept = connect_to(served)
        kept.sendall(WATCHING)
        assert kept.recv(12) == b"HTTP/1.1 200"

    began_at = time.monotonic()
    for _ in range(3):
        newcomer = connect_to(served)
        newcomer.sendall(WATCHING)
        assert newcomer.recv(12) == b"HTTP/1.1 200"
    assert time.monotonic() - began_at < 10, "before the call has ended"
    assert busy.recv(12) == b"HTTP/1.1 200"


@pytest.fixture
def serve_with_few_threads(serve, tmp_path):
    """The server, in a system that starts two threads for its calls, and no more."""
    (tmp_path / "wsgi.py").write_text(
        "import os, threading\nfrom service import create_app\nfrom service.config import load\n"
        "start, started = threading.Thread.start, []\n"
        "def try_start(thread):\n"
        "    if thread.name.startswith('ThreadPoolExecutor'):\n"
        "        if len(started) == 2:\n"
        '            raise RuntimeError("can\'t start new thread")\n'
        "        started.append(thread)\n"
        "    start(thread)\n"
        "threading.Thread.start = try_start\n"
        "app = create_app(load(os.environ))\n"
    )
    return lambda **environ: serve(GUNICORN_CMD_ARGS=f"--pythonpath={tmp_path}", **environ)


def test_where_no_more_threads_start_calls_are_refused_and_the_others_go_on(
    serve_with_few_threads, connect_to, new_license, upstream
):
    served = serve_with_few_threads(OBOL_THREADS="10", OBOL_THREADS_PER_LICENSE="10")
    license = new_license(credits=10_000)
    message = {"role": "user", "content": "[sandbox delay_ms=3000]"}
    body = json.dumps({"model": "m", "max_tokens": 20, "messages": [message]}).encode()
    asked = head(license, f"Content-Length: {len(body)}", path="/v1/messages") + body
    slow = []
    for number in (1, 2):
        slow.append(connect_to(served))
        slow[-1].sendall(asked)
        wait_until(lambda number=number: len(upstream.received) == number)

    refused = connect_to(served)
    refused.sendall(asked)

    assert read_to_the_end(refused).startswith(b"HTTP/1.1 503 ")
    assert [connection.recv(12) for connection in slow] == [b"HTTP/1.1 200"] * 2
    assert served.get("/healthz")[0] == 200


@pytest.fixture
def connect_to():
    connections = []

    def connect(served):
        connections.append(socket.create_connection(("127.0.0.1", served.port), timeout=30))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def test_a_kept_connection_is_answered_again(served, new_license):
    connection = HTTPConnection("127.0.0.1", served.port, timeout=30)
    headers = {"Content-Type": "application/json", **new_license().headers}
    for amount in (1, 2):
        connection.request("POST", "/api/v1/deductions", json.dumps({"amount": amount}), headers)
        with connection.getresponse() as response:
            assert json.loads(response.read())["amount"] == amount
    connection.close()
