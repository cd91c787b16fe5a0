"""The sandbox has the bad days that it was told to have."""

import json
from http.client import IncompleteRead, RemoteDisconnected
from threading import Thread
from types import SimpleNamespace

import pytest
from factories import wait_until
from sandbox_client import DEEP, Polled, call, send

from service.dev import sandbox
from service.dev.sandbox import wire


@pytest.mark.parametrize(
    ("status", "type", "advice"),
    [
        (400, "invalid_request_error", (None, None)),
        (429, "rate_limit_error", ("7", None)),
        (500, "api_error", (None, None)),
        (503, "api_error", ("7", None)),
        (529, "overloaded_error", ("7", "true")),
    ],
)
def test_fails_with_the_status_that_it_was_told(upstream, status, type, advice):
    raw = json.dumps({"model": "m", "max_tokens": 1, "messages": f"[sandbox status={status}]"}).encode()
    got, body, headers = send(upstream, "/v1/messages", raw)

    assert (got, body["type"], body["error"]["type"]) == (status, "error", type)
    assert body["request_id"] == headers["request-id"]
    assert (headers["retry-after"], headers["x-should-retry"]) == advice
    assert upstream.calls == 1


def test_a_directive_without_its_number(upstream):
    assert call(upstream, "[sandbox status]")[0] == 500
    assert call(upstream, "[sandbox input_tokens][sandbox delay_ms]")[1]["usage"]["input_tokens"] > 0
    assert call(upstream, "[sandbox output_tokens]")[1]["usage"]["output_tokens"] == 0


def test_sends_garbage(upstream):
    with pytest.raises(json.JSONDecodeError):
        call(upstream, "[sandbox garbage]")


def test_closes_without_an_answer(upstream):
    with pytest.raises(RemoteDisconnected):
        call(upstream, "[sandbox close]")


def test_drops_the_connection_in_the_body(upstream):
    with pytest.raises(IncompleteRead) as caught:
        call(upstream, "[sandbox cut_after=20]")
    assert len(caught.value.partial) == 20
    assert caught.value.expected > 100


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that the sandbox would have slept, without the sleep."""
    pauses = []
    monkeypatch.setattr(sandbox, "time", SimpleNamespace(sleep=pauses.append))
    return pauses


def test_answers_late(upstream, pauses):
    call(upstream, "[sandbox delay_ms=200]")
    assert pauses == [0.2]


def test_every_answer_can_be_late(pauses):
    server = sandbox.start(delay_ms=200)
    assert call(server)[0] == 200
    assert call(server, "[sandbox delay_ms=0]")[0] == 200
    assert pauses == [0.2, 0]
    server.shutdown()
    server.server_close()


def test_says_nothing_until_it_is_shut_down():
    server = sandbox.start()
    server.stopping = Polled()
    said = []

    def ask():
        with pytest.raises(RemoteDisconnected):
            call(server, "[sandbox stall_after=0]")
        said.append("nothing")

    thread = Thread(target=ask)
    thread.start()
    wait_until(lambda: server.stopping.looks > 2)
    assert said == []
    server.shutdown()
    thread.join()
    server.server_close()
    assert said == ["nothing"]


def test_says_nothing_for_a_limited_time(upstream, monkeypatch):
    monkeypatch.setattr(wire, "STALL_S", 0.1)
    with pytest.raises(RemoteDisconnected):
        call(upstream, "[sandbox stall_after=0]")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"{}",
        b'{"messages": [], "model": "m"}',
        b'{"messages": [], "model": "m", "max_tokens": "x"}',
        b'{"messages": 5, "model": "m", "max_tokens": 1}',
        DEEP,
    ],
)
def test_a_body_that_is_no_request(upstream, raw):
    status, body = call(upstream, raw=raw)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")
