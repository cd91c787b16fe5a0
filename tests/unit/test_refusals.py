"""What gunicorn refuses by itself."""

import json
import socket

import pytest

from service.refusals import write_problem


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [(400, 400, "malformed_request"), (431, 400, "malformed_request"), (500, 500, "internal_error")],
)
def test_a_refusal_is_a_problem_that_repeats_nothing(status, answered, code):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        write_problem(ours, status, "Bad Request", "what the client sent")
        head, _, body = theirs.recv(4096).decode().partition("\r\n\r\n")

    document = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {answered} ")
    assert (document["status"], document["code"]) == (answered, code)
    assert "what the client sent" not in body
