"""The sandbox streams what it also answers whole."""

import json
import socket
from http.client import HTTPConnection

import anthropic
import pytest
from sandbox_client import SHORT, SHORT_EVENTS, asked, parse, read, request_for, stream

from service.dev.sandbox import answers, events
from service.dev.sandbox.directives import Directives


def whole(upstream, prompt, **more):
    return json.loads(read(upstream, prompt, **more))


def joined(events):
    """The message that a client has which puts the events together."""
    message, partial = {}, ""
    for name, data in events:
        if name == "message_start":
            message = data["message"]
        elif name == "content_block_start":
            assert data["index"] == len(message["content"])
            message["content"].append(data["content_block"])
        elif name == "content_block_delta":
            block, delta = message["content"][data["index"]], data["delta"]
            kind = delta.pop("type").removesuffix("_delta")
            if kind == "input_json":
                partial += delta["partial_json"]
                block["input"] = json.loads(partial) if partial.endswith("}") else {}
            else:
                block[kind] += delta[kind]
        elif name == "message_delta":
            message |= data["delta"]
            if "usage" in data:
                message["usage"] |= data["usage"]
    return message


def raw_stream(upstream, prompt):
    """The body with the lengths of its chunks."""
    body = json.dumps(request_for(prompt, stream=True)).encode()
    head = f"POST /v1/messages HTTP/1.1\r\nx-api-key: k\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    pieces = []
    with socket.create_connection(upstream.server_address, timeout=10) as connection:
        connection.sendall(head.encode() + body)
        while piece := connection.recv(65536):
            pieces.append(piece)
    return b"".join(pieces).partition(b"\r\n\r\n")[2]


def test_streams_the_events_in_their_order(upstream):
    with asked(upstream, SHORT, stream=True, path="/v1/messages?beta=true") as response:
        assert response.status == 200
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert response.headers["transfer-encoding"] == "chunked"
        assert response.headers["request-id"].startswith("req_sandbox_")
        assert response.headers["set-cookie"]
        events = parse(response.read())
        assert [name for name, _ in events] == SHORT_EVENTS
        start = events[0][1]["message"]
        assert (start["content"], start["stop_reason"], start["stop_sequence"]) == ([], None, None)
        assert start["usage"]["output_tokens"] == 1
        assert [data["delta"]["text"] for _, data in events[3:6]] == ["This", " answer", " comes"]
        assert events[-2][1]["delta"] == {"stop_reason": "end_turn", "stop_sequence": None}
        assert events[-2][1]["usage"]["output_tokens"] == 3
        assert upstream.calls == 1


@pytest.mark.parametrize(
    "prompt",
    [
        "Hello",
        "[sandbox output_tokens=0]",
        "[sandbox output_tokens=99]",
        "[sandbox cache_write_5m=3][sandbox cache_write_1h=4][sandbox cache_read=5]",
        "[sandbox cache_write_5m=3][sandbox unsplit]",
        "[sandbox thinking=7]",
        "[sandbox refusal]",
        "[sandbox late_refusal]",
        "[sandbox no_usage]",
        "[sandbox no_usage][sandbox repeat_delta]",
        "[sandbox repeat_delta]",
        "[sandbox tool_turns=1][sandbox thinking=7]",
        "[sandbox decline]",
        "[sandbox decline_after=20][sandbox thinking=7][sandbox tool_turns=1][sandbox repeat_delta]",
    ],
)
def test_the_events_say_what_the_whole_answer_says(upstream, prompt):
    more = {"tools": [{"name": "weather"}], "fallbacks": [{"model": "f"}]}
    streamed = joined(stream(upstream, prompt, **more))
    answered = whole(upstream, prompt, **more)

    assert streamed | {"id": answered["id"]} == answered
    assert upstream.used == ([answered["usage"]] * 2 if "usage" in answered else [])


def test_the_sdk_reads_it(upstream):
    prompt = "[sandbox thinking=7][sandbox tool_turns=1][sandbox cache_write_1h=4][sandbox future][sandbox split=5]"
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    with anthropic.Anthropic(api_key="k", base_url=upstream.url) as client:
        with client.messages.stream(**request_for(prompt), tools=tools) as events:
            message = events.get_final_message()
        counted = client.messages.count_tokens(model="m", messages=request_for(prompt)["messages"], tools=tools)

    thinking, text, used = message.content
    assert (len(thinking.thinking.split()), len(text.text.split()), used.input) == (7, 10, {"turn": 1})
    assert (message.stop_reason, message.usage.output_tokens) == ("tool_use", 22)
    assert message.usage.cache_creation.ephemeral_1h_input_tokens == 4
    assert message.usage.input_tokens + 4 == counted.input_tokens


def test_a_tool_call_comes_in_two_pieces(upstream):
    events = stream(upstream, "[sandbox tool_turns=1]", tools=[{"name": "weather"}])
    pieces = [data["delta"]["partial_json"] for _, data in events if "partial_json" in data.get("delta", {})]
    assert pieces == ['{"turn":', " 1}"]


@pytest.mark.parametrize("more", ["", "[sandbox future]"])
def test_a_refusal_has_no_blocks(upstream, more):
    names = [name for name, _ in stream(upstream, f"[sandbox refusal]{more}")]
    assert names == ["message_start", "message_delta", "message_stop"]


def test_repeats_the_last_counts(upstream):
    prompt = "[sandbox repeat_delta][sandbox input_tokens=9][sandbox cache_write_5m=4][sandbox decline]"
    events = stream(upstream, prompt, fallbacks=[{"model": "f"}])

    first, second, last = (data for name, data in events if name == "message_delta")
    assert first["usage"] == {"output_tokens": 3}
    cached = {"cache_creation_input_tokens": 4, "cache_read_input_tokens": 0}
    assert second["usage"] == {"input_tokens": 9, "output_tokens": 6, **cached}
    assert last["usage"].pop("iterations")
    assert last["usage"] == {"input_tokens": 9, "output_tokens": 10, **cached}
    assert [data["delta"]["stop_reason"] for data in (first, second, last)] == [None, None, "end_turn"]


def test_sends_what_a_later_version_may(upstream):
    events = read(upstream, f"{SHORT}[sandbox future]", stream=True).split(b"\n\n")

    assert events[2].startswith(b"event: ping\n")
    assert events[3].startswith(b"event: content_block_future\ndata: {")
    assert events[4] == b": note"
    delta, _, rest = events[5].partition(b"\r\n\r\n")
    assert delta.startswith(b"event: content_block_delta\r\ndata: {")
    assert rest.startswith(b"event: content_block_delta\ndata: {")


def test_one_connection_serves_many_streams(upstream):
    connection = HTTPConnection(upstream.url.removeprefix("http://"))
    for _ in range(2):
        connection.request("POST", "/v1/messages", json.dumps(request_for("Hello", stream=True)), {"x-api-key": "k"})
        assert b"message_stop" in connection.getresponse().read()
        own = connection.sock.getsockname()
    assert connection.sock.getsockname() == own
    connection.close()


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_splits_the_stream_anywhere(upstream, size):
    lengths, body, rest = [], b"", raw_stream(upstream, f"{SHORT}[sandbox split={size}]")
    while rest:
        length, _, rest = rest.partition(b"\r\n")
        lengths.append(int(length, 16))
        body += rest[: lengths[-1]]
        rest = rest[lengths[-1] + 2 :]
    *full, last, end = lengths

    assert [name for name, _ in parse(body)] == SHORT_EVENTS
    assert set(full) <= {size}
    assert (0 < last <= size, end) == (True, 0)


def test_streams_a_hundred_thousand_tokens(upstream):
    prompt = "[sandbox output_tokens=100000][sandbox split=65536]"
    with asked(upstream, prompt, stream=True, max_tokens=100_000) as response:
        assert response.read().count(b"event: content_block_delta\n") == 100_000
    assert upstream.used[0]["output_tokens"] == 100_000


def test_makes_the_events_only_when_they_are_sent():
    prompt = "[sandbox output_tokens=999999999]"
    directives = Directives.found_in(prompt)
    made = events.of(answers.make({"model": "m", "max_tokens": 10**9, "messages": prompt}, directives), directives)

    assert [next(made).split(b"\n")[0].decode() for _ in range(4)] == [f"event: {name}" for name in SHORT_EVENTS[:4]]
