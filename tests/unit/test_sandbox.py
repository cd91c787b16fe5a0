"""The sandbox answers as the upstream does, and misbehaves on demand; see test_sandbox_*.py for the rest."""

import json
import socket
import struct
import time
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from threading import Thread
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from factories import wait_until

from service import sandbox
from service.sandbox import wire

KEY = {"x-api-key": "k"}
TEXT = "This answer comes from the sandbox, not from a model."
FRESH = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}


@pytest.fixture
def recording():
    server = sandbox.start(record=True)
    yield server
    server.shutdown()
    server.server_close()


def send(upstream, path, data=None, headers=KEY):
    try:
        with urlopen(Request(upstream.url + path, data, {"content-type": "application/json", **headers})) as response:
            return response.status, json.loads(response.read()), response.headers
    except HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def call(upstream, prompt="Hello", headers=KEY, path="/v1/messages", raw=None, **more):
    body = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": prompt}], **more}
    return send(upstream, path, json.dumps(body).encode() if raw is None else raw, headers)[:2]


def test_answers_with_words_and_names_itself(upstream):
    status, message = call(upstream)

    assert status == 200
    assert message["model"] == "sandbox/m"
    assert message["content"] == [{"type": "text", "text": TEXT}]
    assert (message["type"], message["role"], message["stop_reason"]) == ("message", "assistant", "end_turn")
    assert message["usage"]["output_tokens"] == 10
    assert message["usage"]["input_tokens"] > 0
    assert upstream.calls == 1


@pytest.mark.parametrize(
    ("asked", "most", "got", "stop_reason"),
    [(0, 50, 0, "end_turn"), (3, 50, 3, "end_turn"), (50, 50, 50, "end_turn"), (51, 50, 50, "max_tokens")],
)
def test_uses_the_output_tokens_that_it_was_told(upstream, asked, most, got, stop_reason):
    _, message = call(upstream, f"[sandbox output_tokens={asked}]", max_tokens=most)

    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (got, stop_reason)
    assert len(message["content"][0]["text"].split()) == got


def test_reports_the_input_tokens_that_it_was_told(upstream):
    assert call(upstream, "[sandbox input_tokens=5000]")[1]["usage"]["input_tokens"] == 5000


def test_directives_stand_together_and_anywhere_in_the_messages(upstream):
    content = [{"type": "text", "text": "a [sandbox input_tokens=7] b [sandbox output_tokens=2] [sandbox unknown=1]"}]
    usage = call(upstream, content)[1]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 2)


@pytest.mark.parametrize(
    ("directive", "usage"),
    [
        ("", {"input_tokens": 9, "output_tokens": 10, **FRESH}),
        (
            "[sandbox cache_write_5m=3][sandbox cache_write_1h=4][sandbox cache_read=5]",
            {
                "input_tokens": 9,
                "output_tokens": 10,
                "cache_creation_input_tokens": 7,
                "cache_read_input_tokens": 5,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            },
        ),
        (
            "[sandbox cache_write_1h=4][sandbox unsplit]",
            {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_creation_input_tokens": 4},
        ),
        ("[sandbox cache_read=5]", {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_read_input_tokens": 5}),
    ],
)
def test_reports_what_went_through_the_cache(upstream, directive, usage):
    assert call(upstream, f"[sandbox input_tokens=9]{directive}")[1]["usage"] == usage


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


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/models", "/v1/messages?beta=true", "/elsewhere"])
def test_tells_of_the_account_that_it_was_called_with(upstream, path):
    headers = send(upstream, path, b"" if "messages" in path else None)[2]

    assert headers["request-id"].startswith("req_sandbox_")
    for name in ("anthropic-organization-id", "set-cookie", "anthropic-ratelimit-requests-remaining"):
        assert headers[name]


@pytest.mark.parametrize("directive", ["refusal", "decline"])
def test_refuses(upstream, directive):
    message = call(upstream, f"[sandbox {directive}]")[1]
    assert (message["content"], message["stop_reason"]) == ([], "refusal")
    assert message["usage"]["output_tokens"] == 10


def test_refuses_after_its_text(upstream):
    message = call(upstream, "[sandbox late_refusal]")[1]
    assert (message["content"][0]["text"], message["stop_reason"]) == (TEXT, "refusal")


def test_leaves_the_usage_out(upstream):
    assert "usage" not in call(upstream, "[sandbox no_usage]")[1]


def test_sends_garbage(upstream):
    with pytest.raises(json.JSONDecodeError):
        call(upstream, "[sandbox garbage]")


def test_sends_a_field_of_the_future(upstream):
    assert call(upstream, "[sandbox future]")[1]["future"]


def test_closes_without_an_answer(upstream):
    with pytest.raises(RemoteDisconnected):
        call(upstream, "[sandbox close]")


def test_drops_the_connection_in_the_body(upstream):
    with pytest.raises(IncompleteRead) as caught:
        call(upstream, "[sandbox cut_after=20]")
    assert len(caught.value.partial) == 20
    assert caught.value.expected > 100


def test_thinks_first(upstream):
    message = call(upstream, "[sandbox thinking=7]")[1]

    thinking, text = message["content"]
    assert thinking.keys() == {"type", "thinking", "signature"}
    assert (thinking["type"], len(thinking["thinking"].split())) == ("thinking", 7)
    assert thinking["signature"]
    assert text["text"] == TEXT
    assert message["usage"]["output_tokens"] == 17


@pytest.mark.parametrize(
    ("most", "words", "output", "stop_reason"),
    [(17, 10, 17, "end_turn"), (9, 2, 9, "max_tokens"), (5, 0, 5, "max_tokens")],
)
def test_thinking_counts_against_max_tokens(upstream, most, words, output, stop_reason):
    message = call(upstream, "[sandbox thinking=7]", max_tokens=most)[1]

    assert len(message["content"][1]["text"].split()) == words
    assert (message["usage"]["output_tokens"], message["stop_reason"]) == (output, stop_reason)


def test_calls_a_tool_until_it_has_the_results(upstream):
    messages = [{"role": "user", "content": "[sandbox tool_turns=2]"}]
    for turn in (1, 2):
        message = call(upstream, messages=messages, tools=[{"name": "weather"}, {"name": "other"}])[1]

        text, used = message["content"]
        assert text == {"type": "text", "text": TEXT}
        assert used == {"type": "tool_use", "id": used["id"], "name": "weather", "input": {"turn": turn}}
        assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("tool_use", 15)
        messages += [
            {"role": "assistant", "content": message["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used["id"], "content": "rain"}]},
        ]
    message = call(upstream, messages=messages, tools=[{"name": "weather"}])[1]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("end_turn", 10)


def test_without_tools_it_calls_none(upstream):
    assert call(upstream, "[sandbox tool_turns=2]")[1]["stop_reason"] == "end_turn"


def test_a_tool_call_that_does_not_fit(upstream):
    message = call(upstream, "[sandbox tool_turns=1]", tools=[{"name": "weather"}], max_tokens=14)[1]

    assert [block["type"] for block in message["content"]] == ["text"]
    assert (message["stop_reason"], message["usage"]["output_tokens"]) == ("max_tokens", 10)


@pytest.mark.parametrize(("directive", "used_first"), [("decline", 0), ("decline_after=20", 20)])
def test_lets_a_fallback_answer(upstream, directive, used_first):
    prompt = f"[sandbox {directive}][sandbox input_tokens=9][sandbox cache_read=5]"
    message = call(upstream, prompt, fallbacks=[{"model": "f"}, {"model": "g"}])[1]

    assert (message["model"], message["stop_reason"]) == ("sandbox/f", "end_turn")
    assert message["content"][0] == {"type": "fallback", "from": {"model": "m"}, "to": {"model": "f"}}
    assert message["content"][1]["text"] == TEXT
    served = {**FRESH, "input_tokens": 9, "output_tokens": 10, "cache_read_input_tokens": 5}
    first = {**FRESH, "type": "message", "model": "m", "input_tokens": 9, "output_tokens": used_first}
    assert message["usage"] == {
        **served,
        "iterations": [first, {"type": "fallback_message", "model": "f", **served}],
    }


@pytest.mark.parametrize("fallbacks", [[], "default"])
def test_nobody_named_to_fall_back_on(upstream, fallbacks):
    assert call(upstream, "[sandbox decline]", fallbacks=fallbacks)[1]["stop_reason"] == "refusal"
    assert call(upstream, "Hello", fallbacks=[{"model": "f"}])[1]["model"] == "sandbox/m"


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


def test_says_nothing_until_it_is_shut_down():
    server = sandbox.start()
    said = []

    def ask():
        with pytest.raises(RemoteDisconnected):
            call(server, "[sandbox stall_after=0]")
        said.append("nothing")

    thread = Thread(target=ask)
    thread.start()
    wait_until(lambda: server.calls == 1)
    time.sleep(0.1)
    assert said == []
    server.shutdown()
    thread.join(5)
    server.server_close()
    assert said == ["nothing"]


def test_says_nothing_for_a_limited_time(upstream, monkeypatch):
    monkeypatch.setattr(wire, "STALL_S", 0.1)
    with pytest.raises(RemoteDisconnected):
        call(upstream, "[sandbox stall_after=0]")


DEEP = b'{"model": "m", "max_tokens": 1, "messages": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


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


def test_records_when_it_is_told_to(recording):
    usage = call(recording, path="/v1/messages?beta=true", headers={"X-Api-Key": "k", "X-Other": "1"})[1]["usage"]
    call(recording, "[sandbox no_usage]")
    call(recording, "[sandbox status=500]")
    with pytest.raises(IncompleteRead):
        call(recording, "[sandbox cut_after=20]")
    send(recording, "/v1/models")

    first, last = recording.received[0], recording.received[-1]
    assert (first.method, first.path, first.headers["x-other"]) == ("POST", "/v1/messages?beta=true", "1")
    assert json.loads(first.body)["messages"][0]["content"] == "Hello"
    assert (last.method, last.path, last.body) == ("GET", "/v1/models", b"")
    assert len(recording.received) == 5
    assert recording.used == [usage]


def test_keeps_nothing_otherwise(upstream):
    call(upstream)
    assert (upstream.received, upstream.used) == ([], [])


def test_one_connection_serves_many_calls(upstream):
    connection = HTTPConnection(upstream.url.removeprefix("http://"))
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": []})
    for _ in range(2):
        connection.request("POST", "/v1/messages", body, KEY)
        assert connection.getresponse().read()
    connection.close()
    assert upstream.calls == 2


@pytest.mark.parametrize("linger", [0, 1])
def test_a_client_that_leaves_is_no_news(recording, capfd, linger):
    body = json.dumps({"model": "m", "max_tokens": 1, "messages": "[sandbox delay_ms=300]"}).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(recording.server_address) as connection:
        # With it the connection is reset; without it is closed.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", linger, 0))
        connection.sendall(head.encode() + body)
        wait_until(lambda: recording.calls == 1)
    time.sleep(0.6)

    assert capfd.readouterr().err == ""
    assert recording.used == []


def test_what_is_wrong_in_the_sandbox_itself_is_shown(upstream, capfd):
    try:
        raise RuntimeError("wrong")
    except RuntimeError:
        upstream.handle_error(None, ("127.0.0.1", 1))

    assert "RuntimeError: wrong" in capfd.readouterr().err
