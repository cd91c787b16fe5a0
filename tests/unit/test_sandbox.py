"""The sandbox speaks the upstream's wire, and misbehaves on demand."""

import json
import socket
import struct
import time
from http.client import HTTPConnection, RemoteDisconnected
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from factories import wait_until

from service import sandbox

KEY = {"x-api-key": "k"}


def call(upstream, prompt="Hello", headers=KEY, path="/v1/messages", raw=None, **more):
    body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}], **more}
    data = json.dumps(body).encode() if raw is None else raw
    try:
        with urlopen(Request(upstream.url + path, data, {"content-type": "application/json", **headers})) as response:
            return response.status, json.loads(response.read())
    except HTTPError as error:
        return error.code, json.loads(error.read())


def test_answers_with_words_and_names_itself(upstream):
    status, message = call(upstream)

    assert status == 200
    assert message["model"] == "sandbox/m"
    assert message["content"] == [{"type": "text", "text": "This answer comes from the sandbox, not from a model."}]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["output_tokens"] == 10
    assert message["usage"]["input_tokens"] > 0
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("asked", "most", "got", "stop_reason"),
    [(3, 50, 3, "end_turn"), (50, 50, 50, "end_turn"), (51, 50, 50, "max_tokens")],
)
def test_uses_the_output_tokens_that_it_was_told(upstream, asked, most, got, stop_reason):
    _, message = call(upstream, f"[sandbox output_tokens={asked}]", max_tokens=most)

    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (got, stop_reason)
    assert len(message["content"][0]["text"].split()) == got


def test_reports_the_input_tokens_that_it_was_told(upstream):
    assert call(upstream, "[sandbox input_tokens=5000]")[1]["usage"]["input_tokens"] == 5000


def test_directives_stand_together_and_anywhere_in_the_messages(upstream):
    content = [{"type": "text", "text": "a [sandbox input_tokens=7] b [sandbox output_tokens=2]"}]
    usage = call(upstream, content)[1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 2)


@pytest.mark.parametrize(
    ("status", "type"), [(400, "invalid_request_error"), (529, "overloaded_error"), (500, "api_error")]
)
def test_fails_with_the_status_that_it_was_told(upstream, status, type):
    got, body = call(upstream, f"[sandbox status={status}]")

    assert (got, body["type"], body["error"]["type"]) == (status, "error", type)
    assert body["request_id"].startswith("req_sandbox_")
    assert upstream.calls == 1


def test_refuses(upstream):
    message = call(upstream, "[sandbox refusal]")[1]
    assert (message["content"], message["stop_reason"]) == ([], "refusal")


def test_leaves_the_usage_out(upstream):
    assert "usage" not in call(upstream, "[sandbox no_usage]")[1]


def test_sends_garbage(upstream):
    with pytest.raises(json.JSONDecodeError):
        call(upstream, "[sandbox garbage]")


def test_closes_without_an_answer(upstream):
    with pytest.raises(RemoteDisconnected):
        call(upstream, "[sandbox close]")


def test_answers_late(upstream):
    began_at = time.monotonic()
    call(upstream, "[sandbox delay_ms=200]")
    assert time.monotonic() - began_at >= 0.2


def test_every_answer_can_be_late():
    server = sandbox.start(delay_ms=200)
    began_at = time.monotonic()
    assert call(server)[0] == 200
    assert time.monotonic() - began_at >= 0.2
    assert call(server, "[sandbox delay_ms=0]")[0] == 200
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b"{}", b'{"messages": [], "model": "m"}', b'{"messages": [], "model": "m", "max_tokens": "x"}'],
)
def test_a_body_that_is_no_request(upstream, raw):
    status, body = call(upstream, raw=raw)
    assert (status, body["error"]["type"]) == (400, "invalid_request_error")


def test_does_not_stream(upstream):
    assert call(upstream, stream=True)[0] == 400


def test_needs_a_key(upstream):
    assert call(upstream, headers={})[0] == 401
    assert upstream.calls == 0
    assert call(upstream, headers={"authorization": "Bearer k"})[0] == 200


def test_knows_one_path(upstream):
    assert call(upstream, path="/v1/messages?beta=true")[0] == 200
    assert call(upstream, path="/v1/models")[0] == 404
    assert upstream.calls == 1


def test_one_connection_serves_many_calls(upstream):
    connection = HTTPConnection(upstream.url.removeprefix("http://"))
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": []})
    for _ in range(2):
        connection.request("POST", "/v1/messages", body, KEY)
        assert connection.getresponse().read()
    connection.close()
    assert upstream.calls == 2


def test_a_client_that_leaves_is_no_news(upstream, capfd):
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": "[sandbox delay_ms=300]"}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(upstream.server_address) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.sendall(head.encode() + body)
        wait_until(lambda: upstream.calls == 1)
    time.sleep(0.6)

    assert capfd.readouterr().err == ""


def test_what_is_wrong_in_the_sandbox_itself_is_shown(upstream, capfd):
    try:
        raise RuntimeError("wrong")
    except RuntimeError:
        upstream.handle_error(None, ("127.0.0.1", 1))

    assert "RuntimeError: wrong" in capfd.readouterr().err
