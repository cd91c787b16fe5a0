"""What is read of a message: its model, its end, its usage, and whether anything was written."""

import json

import pytest

from service.gateway.message import Message, parse_object
from service.gateway.sse import Event
from service.problems import Problem

USAGE = {"input_tokens": 3, "output_tokens": 4}
TEXT, EMPTY_TEXT = {"type": "text", "text": "Hi."}, {"type": "text", "text": ""}
MARK = {"type": "fallback", "from": {}, "to": {}}


def whole(**more):
    message = {"model": "m", "content": [TEXT], "stop_reason": "end_turn", "usage": USAGE, **more}
    return json.dumps({name: value for name, value in message.items() if value != "left out"}).encode()


def event(name, **document):
    return Event(name, f"event: {name}\ndata: {json.dumps({'type': name, **document})}\n\n".encode())


def read(*events, reads_text=False):
    message = Message(reads_text)
    for one in events:
        message.read(one)
    return message


START = event("message_start", message={"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}})
DELTA = event("content_block_delta", delta={"type": "text_delta", "text": "Hi."})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
REFUSAL = event("message_delta", delta={"stop_reason": "refusal"})
BEGUN = event("content_block_start", content_block=EMPTY_TEXT)


def is_unreadable(problem):
    return (problem.code, problem.retry_after, problem.reply) == ("upstream_error", 1, None) and (
        problem.detail == "The model's answer could not be read. Nothing was charged."
    )


def test_a_whole_message():
    message, document = Message.from_body(whole(future={"a": [1]}))

    assert (message.model, message.stop_reason, message.usage, message.has_output) == ("m", "end_turn", USAGE, True)
    assert document["future"] == {"a": [1]}


@pytest.mark.parametrize(
    ("content", "has_output"),
    [
        ([], False),
        ([EMPTY_TEXT], False),
        ([MARK], False),
        ([MARK, EMPTY_TEXT, EMPTY_TEXT, MARK], False),
        ([TEXT], True),
        ([EMPTY_TEXT, TEXT], True),
        ([MARK, TEXT], True),
        ([{"type": "text"}], False),
        ([{"type": "text", "text": None}], False),
        ([{"text": ""}], True),
        ([{"type": "future", "text": ""}], True),
        ([{"type": "thinking", "thinking": "", "signature": "s"}], True),
        ([{"type": "redacted_thinking", "data": ""}], True),
        ([{"type": "tool_use", "input": {}}], True),
        ([EMPTY_TEXT, {"type": "tool_use", "input": {}}], True),
        ([{"type": "future"}], True),
        ([{}], True),
    ],
    ids=str,
)
def test_whether_there_is_any_output(content, has_output):
    refused, _ = Message.from_body(whole(content=content, stop_reason="refusal"))
    answered, _ = Message.from_body(whole(content=content))

    assert refused.has_output == answered.has_output == has_output
    assert (refused.is_empty_refusal(), answered.is_empty_refusal()) == (not has_output, False)
    # The same blocks decide in a stream, when they begin and nothing is added to them.
    begun = [event("content_block_start", content_block=block) for block in content]
    assert read(START, *begun, REFUSAL).is_empty_refusal() == (not has_output)
    assert not read(START, *begun, END).is_empty_refusal()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"\xff\xfe",
        b"[" * 100_000,
        b"<html></html>",
        whole(content="left out"),
        whole(content=None),
        whole(content=["text"]),
        whole(content={}),
        whole(stop_reason="left out"),
        whole(stop_reason=None),
        whole(stop_reason=7),
        whole(model="left out"),
        whole(model=7),
    ],
    ids=lambda body: str(body[-40:]),
)
def test_a_message_that_nobody_could_read(body):
    with pytest.raises(Problem) as refused:
        Message.from_body(body)
    assert is_unreadable(refused.value)


def test_a_message_without_usage_can_be_read():
    assert Message.from_body(whole(usage="left out"))[0].usage == {}
    assert Message.from_body(whole(usage=[7]))[0].usage == {}


def test_a_streamed_message():
    message = read(START)
    assert (message.model, message.stop_reason, message.has_output) == ("m", None, False)

    message = read(START, event("ping"), DELTA, END, event("message_stop"))
    assert (message.model, message.stop_reason, message.has_output) == ("m", "end_turn", True)
    assert message.usage == {"input_tokens": 3, "output_tokens": 4}
    assert not message.is_empty_refusal()


def test_a_delta_that_goes_on_ends_nothing():
    going_on = event("message_delta", delta={"stop_reason": None}, usage={"output_tokens": 2})

    message = read(START, DELTA, going_on)
    assert (message.stop_reason, message.usage["output_tokens"]) == (None, 2)
    message = read(START, DELTA, END, going_on)
    assert (message.stop_reason, message.usage["output_tokens"]) == ("end_turn", 2)


def test_a_refusal_in_a_stream_is_empty_until_something_was_written():
    assert read(START, REFUSAL).is_empty_refusal()
    assert read(START, BEGUN, event("content_block_stop"), event("ping"), BEGUN, REFUSAL).is_empty_refusal()
    assert not read(START, DELTA, REFUSAL).is_empty_refusal()
    assert not read(START, BEGUN, DELTA, BEGUN, REFUSAL).is_empty_refusal()


@pytest.mark.parametrize("delta", [{"type": "text_delta", "text": ""}, {"type": "input_json_delta"}, {}, None])
def test_any_delta_in_a_stream_is_output(delta):
    message = read(START, BEGUN, event("content_block_delta", delta=delta), REFUSAL)
    assert (message.has_output, message.is_empty_refusal()) == (True, False)


@pytest.mark.parametrize(
    "data", [b"{", b"[]", b"", b"\xff", b"{}", b'{"content_block": null}', b'{"content_block": [{"type": "text"}]}',
             b'{"content_block": {"type": "text", "text": "", "n": NaN}}', b"[" * 100_000],
    ids=lambda data: str(data[:40]),
)  # fmt: skip
def test_a_block_whose_beginning_nobody_can_read_is_output(data):
    begun = Event("content_block_start", b"event: content_block_start\ndata: " + data + b"\n\n")

    assert not read(START, begun, REFUSAL).is_empty_refusal()
    assert not read(START, BEGUN, begun, BEGUN, REFUSAL).is_empty_refusal()
    # It is looked into only when it decides something.
    assert read(START, begun, END, reads_text=True).stop_reason == "end_turn"
    assert read(START, begun, DELTA, REFUSAL).has_output


def test_beginnings_are_kept_only_until_there_is_output():
    message = read(START, BEGUN, BEGUN)
    assert len(message._begun) == 2
    message.read(DELTA)
    message.read(BEGUN)
    assert message._begun == []


@pytest.mark.parametrize(
    "unreadable",
    [
        Event("message_start", b"event: message_start\ndata: {\n\n"),
        Event("message_start", b"event: message_start\n\n"),
        event("message_start"),
        event("message_start", message=[]),
        event("message_start", message={"model": None}),
        Event("message_delta", b"event: message_delta\ndata: []\n\n"),
        Event("message_delta", b'event: message_delta\ndata: {"delta": {}, "usage": {"a": NaN}}\n\n'),
        event("message_delta"),
        event("message_delta", delta="end_turn"),
        event("message_delta", delta={}, usage=[7]),
        event("message_delta", delta={}, usage="7"),
        Event("message_stop", b"event: message_stop\n\n"),
        Event("message_stop", b"event: message_stop\ndata: {}\n\n"),
        # Clients go by the name or by the type: they have to be the same.
        event("message_start", type="message_stop", message={"model": "m"}),
        event("message_stop", type="ping"),
        event("message_future", type=None),
        event("future", type="message_stop"),
        event("future", type="message_delta", delta={"stop_reason": "end_turn"}),
        event("future", type=7),
        Event("future", b"event: future\ndata: \xff\n\n"),
        Event("future", b"event: future\ndata: []\n\n"),
        event("ping", type="message_stop"),
        event("content_block_start", type="message_delta"),
        event("content_block_delta", type="message_stop"),
        event("content_block_stop", type="message_start"),
        Event("content_block_stop", b'event: content_block_stop\ndata: { "type"\t: "message_stop"}\n\n'),
        Event("ping", b'event: ping\ndata: {"type" : "message_stop"}\n\n'),
        # Without a name it has only its type.
        Event("", b'data: {"type": "message_stop"}\n\n'),
    ],
    ids=lambda event: event.raw.decode(errors="replace")[:90],
)
def test_an_event_about_money_that_nobody_could_read(unreadable):
    with pytest.raises(Problem) as refused:
        read(unreadable)
    assert is_unreadable(refused.value)


def test_what_has_nothing_to_do_with_money_is_not_parsed():
    garbled = Event("content_block_delta", b"event: content_block_delta\ndata: {\n\n")

    assert read(garbled, Event("", b": \xff\n\n"), Event("future", b"event: future\n\n")).has_output
    assert read(event("future", usage={"output_tokens": 9}, delta={"stop_reason": "refusal"})).usage == {}
    with pytest.raises(Problem) as refused:
        read(garbled, reads_text=True)
    assert is_unreadable(refused.value)


def test_a_text_may_hold_the_words_of_an_event():
    text = event("content_block_delta", delta={"type": "text_delta", "text": '{"type": "message_stop"}'})
    code = event("content_block_delta", delta={"type": "input_json_delta", "partial_json": '"type":"message_start"'})
    assert read(START, text, code, END).stop_reason == "end_turn"
    # Only what it says of itself makes it another: this is what the model was called with.
    assert read(START, event("ping", types="message_stop"), END).stop_reason == "end_turn"


def test_a_message_begins_once():
    with pytest.raises(Problem) as refused:
        read(START, DELTA, START)
    assert is_unreadable(refused.value)


@pytest.mark.parametrize(("content", "has_output"), [([], False), (None, False), ([TEXT], True), ([EMPTY_TEXT], True)])
def test_what_a_stream_begins_with_is_output(content, has_output):
    message = read(event("message_start", message={"model": "m", "content": content, "usage": USAGE}), REFUSAL)
    assert message.is_empty_refusal() == (not has_output)


@pytest.mark.parametrize(
    ("usage", "is_metered"),
    [({"output_tokens": 4}, True), ({"output_tokens": 0}, True), ({}, False), (None, False), ({"a": 1}, False),
     ({"output_tokens": None}, False), ({"output_tokens": "4"}, False), ({"output_tokens": True}, False)],
)  # fmt: skip
def test_a_stream_that_does_not_say_in_the_end_how_much_was_written_says_nothing(usage, is_metered):
    going_on = event("message_delta", delta={"stop_reason": None})
    end = event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage)

    assert bool(read(START, DELTA, going_on, end, event("message_stop")).usage) == is_metered
    # Until then it is what was said: the upstream may charge us for it.
    assert read(START, DELTA, going_on, end).usage["input_tokens"] == 3
    # Once said is said.
    assert read(START, DELTA, END, going_on, event("message_stop")).usage == {"input_tokens": 3, "output_tokens": 4}


def test_only_json_objects_are_parsed():
    assert parse_object(b' {"a": 1} ') == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig", "latin-1"])
def test_only_utf_8_is_parsed(encoding):
    with pytest.raises(Problem) as refused:
        parse_object('{"a": "é"}'.encode(encoding))
    assert is_unreadable(refused.value)
