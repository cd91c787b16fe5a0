"""Headers that would steer the server, and those that every answer has, over the wire."""

import json
import socket

import pytest
from one_server import *  # noqa: F403 - all of its fixtures


@pytest.fixture
def sent(served):
    """`sent(head, body=b"")`: the status, headers and body that gunicorn answers these bytes with."""
    port = served.port

    def send(head, body=b""):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            connection.sendall(head.replace("\n", "\r\n").encode() + b"Host: x\r\nConnection: close\r\n\r\n" + body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = answer.partition(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines), body

    return send


def test_a_client_does_not_choose_its_path_in_a_header(sent):
    for header in ("SCRIPT_NAME: /healthz", "SCRIPT_NAME: /x", "PATH_INFO: /nowhere"):
        status, _, body = sent(f"GET /healthz HTTP/1.1\n{header}\n")
        assert (status, json.loads(body)) == (200, {"status": "ok"})


def test_a_transfer_encoding_that_nobody_knows_is_the_client_s_fault(sent):
    for coding in ("gzip", "chunked, gzip", "nonsense"):
        status, headers, body = sent(f"POST /api/v1/deductions HTTP/1.1\nTransfer-Encoding: {coding}\n")
        document = json.loads(body)
        assert (status, document["status"], document["code"]) == (400, 400, "malformed_request")
        assert headers["content-type"] == "application/problem+json"


def test_every_answer_may_be_kept_by_nobody_and_guessed_at_by_nobody(sent, new_license):
    key = new_license().raw_key
    prompt = b'{"prompt": "Hello", "stream": true}'
    stream = f"Authorization: Bearer {key}\nContent-Type: application/json\nContent-Length: {len(prompt)}\n"
    for head, body, expected in (
        ("GET /healthz HTTP/1.1\n", b"", 200),
        ("GET /nowhere HTTP/1.1\n", b"", 404),
        (f"GET /api/v1/license HTTP/1.1\nx-api-key: {key}\n", b"", 200),
        (f"POST /api/v1/generate HTTP/1.1\n{stream}", prompt, 200),
        ("GET / HTTP/1.1\nno header\n", b"", 400),
    ):
        status, headers, _ = sent(head, body)
        assert (status, headers["cache-control"], headers["x-content-type-options"]) == (
            expected,
            "no-store",
            "nosniff",
        )
