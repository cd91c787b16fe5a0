"""Clients that go away in the middle of a generation."""

import json
import socket
from contextlib import ExitStack

import pytest
from factories import wait_until

# How long it takes is the pace's business.
BODY = json.dumps({"prompt": "[sandbox delay_ms=1] Hello", "max_tokens": 50}).encode()


@pytest.fixture
def hang_up_during(pace, holds):
    """`hang_up_during(served, license, header="")`: send a generation, wait until it runs, and close
    the connection; returns once the generation is settled."""

    def send(served, license, header=""):
        head = (
            f"POST /api/v1/generate HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {license.raw_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n{header}\r\n"
        )
        with socket.create_connection(("127.0.0.1", served.port)) as connection:
            connection.sendall(head.encode() + BODY)
            wait_until(lambda: holds() == ["held"], what="the generation running")
        pace.go_on()
        wait_until(lambda: holds() == ["settled"], what="the settlement")

    return send


def read_answer(connection):
    """What comes up to the end of a JSON document."""
    read = b""
    while not read.endswith(b"}\n"):
        read += connection.recv(4096)
    return read


def test_an_answer_to_nobody_is_charged_listed_and_refundable(serve, hang_up_during, new_license, sql, verified):
    served = serve()
    license = new_license(credits=1000)

    hang_up_during(served, license)

    # Two beats later nobody has noted it as delivered.
    newest_lease = "SELECT max(lease_expires_at) FROM obol.processes"
    for _ in range(2):
        before = sql(newest_lease)
        wait_until(lambda before=before: sql(newest_lease) > before, what="a beat")
    ((license_id, charge),) = sql("SELECT license_id::text, charge FROM obol.undelivered_holds")
    assert license_id == str(license.id)
    assert sql("SELECT balance, held FROM obol.licenses") == [(1000 - charge, 0)]
    verified()


def test_a_delivered_answer_is_noted_with_the_heartbeat(serve, new_license, sql):
    served = serve()
    license = new_license(credits=1000)

    assert served.post("/api/v1/generate", BODY, license.headers)[0] == 200

    wait_until(lambda: sql("SELECT 1 FROM obol.holds WHERE delivered_at IS NOT NULL"), what="the note")
    assert sql("SELECT * FROM obol.undelivered_holds") == []


def test_a_keyed_answer_to_nobody_is_listed_when_no_retry_can_get_it(serve, hang_up_during, new_license, sql):
    served = serve(OBOL_REPLAY_KEYS="")
    license = new_license(credits=1000)
    headers = license.headers | {"Idempotency-Key": "k"}

    hang_up_during(served, license, "Idempotency-Key: k\r\n")

    assert served.post("/api/v1/generate", BODY, headers)[0] == 410
    assert sql("SELECT count(*) FROM obol.undelivered_holds") == [(1,)]


def test_a_keyed_answer_to_nobody_waits_for_its_retry(serve, hang_up_during, new_license, upstream, sql):
    served = serve()
    license = new_license(credits=1000)
    headers = license.headers | {"Idempotency-Key": "k"}

    hang_up_during(served, license, "Idempotency-Key: k\r\n")

    assert sql("SELECT count(*) FROM obol.undelivered_holds") == [(0,)]
    assert served.post("/api/v1/generate", BODY, headers)[0] == 200
    assert upstream.calls == 1


def test_a_client_that_stalls_in_its_body_gets_its_thread_taken_away(serve, new_license):
    served = serve(OBOL_THREADS="2", OBOL_THREADS_PER_LICENSE="2")
    license = new_license()
    head = (
        f"POST /api/v1/deductions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {license.raw_key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    with ExitStack() as stack:
        for _ in range(2):
            stalling = stack.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            stalling.sendall(head.encode())
        assert served.get("/healthz")[0] == 200
        stalling.settimeout(30)
        assert b"malformed_request" in read_answer(stalling)


def test_a_truncated_request_moves_nothing(serve, new_license, sql):
    served = serve()
    license = new_license(credits=100)
    head = (
        f"POST /api/v1/deductions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {license.raw_key}\r\n"
        'Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{"amount": 7}'
    )
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        assert b"malformed_request" in read_answer(connection)

    assert sql("SELECT balance FROM obol.licenses") == [(100,)]


def test_what_the_server_itself_refuses_is_a_problem_and_no_key_is_logged(serve, new_license):
    served = serve()
    license = new_license()
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(f"GET / HTTP/1.1\r\nAuthorization Bearer {license.raw_key}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "malformed_request"
    assert license.raw_key.encode() not in answer
    wait_until(lambda: b"Invalid" in served.log.read_bytes(), what="the line in the log")
    assert license.raw_key[5:].encode() not in served.log.read_bytes()


def test_the_rest_of_a_body_that_is_longer_than_it_says_is_not_logged(serve, new_license):
    served = serve()
    head = (
        f"POST /api/v1/deductions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {new_license().raw_key}\r\n"
        "Content-Type: application/json\r\nContent-Length: 13\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", served.port)) as connection:
        connection.sendall(head.encode() + b'{"amount": 1}my secret prompt\r\nand more\r\n\r\n')
        answers = b"".join(iter(lambda: connection.recv(4096), b""))

    assert (answers.count(b"HTTP/1.1 200 "), answers.count(b"HTTP/1.1 400 ")) == (1, 1)
    wait_until(lambda: b"Invalid" in served.log.read_bytes(), what="the line in the log")
    assert b"secret" not in served.log.read_bytes()
