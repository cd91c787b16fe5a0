"""The sandbox as a server: who may call it, what it keeps, and clients that leave."""

import json
import socket
import struct
from http.client import HTTPConnection, IncompleteRead
from threading import Event
from types import SimpleNamespace

import pytest
from factories import wait_until
from sandbox_client import KEY, call, send

from service.dev import sandbox


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/v1/messages?beta=true", "/elsewhere"])
def test_tells_of_the_account_that_it_was_called_with(upstream, path):
    headers = send(upstream, path, b"" if "messages" in path else None)[2]

    assert headers["request-id"].startswith("req_sandbox_")
    for name in ("anthropic-organization-id", "set-cookie", "anthropic-ratelimit-requests-remaining"):
        assert headers[name]


def test_needs_a_key(upstream):
    assert call(upstream, headers={})[0] == 401
    assert send(upstream, "/v1/models", headers={})[0] == 401
    assert upstream.calls == 0
    assert call(upstream, headers={"authorization": "Bearer k"})[0] == 200


def test_knows_its_paths(upstream):
    assert call(upstream, path="/v1/messages?beta=true")[0] == 200
    assert call(upstream, path="/v1/models")[0] == 404
    assert send(upstream, "/v1/messages")[0] == 404
    assert upstream.calls == 1


def test_records_when_it_is_told_to(upstream):
    usage = call(upstream, path="/v1/messages?beta=true", headers={"X-Api-Key": "k", "X-Other": "1"})[1]["usage"]
    call(upstream, "[sandbox no_usage]")
    call(upstream, "[sandbox status=500]")
    with pytest.raises(IncompleteRead):
        call(upstream, "[sandbox cut_after=20]")
    send(upstream, "/v1/models")

    first, last = upstream.received[0], upstream.received[-1]
    assert (first.method, first.path, first.headers["x-other"]) == ("POST", "/v1/messages?beta=true", "1")
    assert json.loads(first.body)["messages"][0]["content"] == "Hello"
    assert (last.method, last.path, last.body) == ("GET", "/v1/models", b"")
    assert len(upstream.received) == 5
    assert upstream.used == [usage]


def test_keeps_nothing_otherwise():
    server = sandbox.start()
    call(server)
    assert (server.received, server.used) == ([], [])
    server.shutdown()
    server.server_close()


def test_one_connection_serves_many_calls(upstream):
    connection = HTTPConnection(upstream.url.removeprefix("http://"))
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": []})
    for _ in range(2):
        connection.request("POST", "/v1/messages", body, KEY)
        assert connection.getresponse().read()
    connection.close()
    assert upstream.calls == 2


@pytest.mark.parametrize("linger", [0, 1])
def test_a_client_that_leaves_is_no_news(upstream, monkeypatch, capfd, linger):
    has_left, over, shutdown_request = Event(), Event(), upstream.shutdown_request

    def end(request):
        shutdown_request(request)
        over.set()

    monkeypatch.setattr(sandbox, "time", SimpleNamespace(sleep=lambda _: has_left.wait(20)))
    monkeypatch.setattr(upstream, "shutdown_request", end)
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": "Hello"}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(upstream.server_address) as connection:
        # With it the connection is reset; without it is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
        connection.sendall(head.encode() + body)
        wait_until(lambda: upstream.calls == 1)
    has_left.set()
    assert over.wait(20)

    assert capfd.readouterr().err == ""
    assert upstream.used == []


def test_what_is_wrong_in_the_sandbox_itself_is_shown(upstream, capfd):
    try:
        raise RuntimeError("wrong")
    except RuntimeError:
        upstream.handle_error(None, ("127.0.0.1", 1))

    assert "RuntimeError: wrong" in capfd.readouterr().err
