"""Streams of /v1/messages and money: their end waits for its charge, and an answer that breaks off
costs nothing."""

import json
import threading

import pytest
from calls import event, requests_in
from factories import wait_until

from service.gateway import sse
from service.http.services import services_of

START = event("message_start", message={"model": "m", "usage": {"input_tokens": 3, "output_tokens": 1}})
TEXT = event("content_block_delta", delta={"type": "text_delta", "text": "Hi"})
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 4})
PING, STOP = event("ping"), event("message_stop")
STOP_BY_ANOTHER_NAME, STOP_WITHOUT_NAME = (
    STOP.replace(b"event: message_stop", b"event: future"),
    STOP.partition(b"\n")[2],
)


def names(stream):
    return [event.name for event in sse.events([stream])]


def error(response):
    """The error in the last event, and what came before it. There is no comment on its cost."""
    events = list(sse.events([response.data]))
    assert [event.name for event in events].count("error") == 1
    assert events[-1].name == "error"
    assert "message_stop" not in names(response.data)
    assert b"obol-credits" not in response.data
    assert (response.status_code, response.content_type) == (200, "text/event-stream; charset=utf-8")
    return json.loads(events[-1].data()), events[:-1]


def ours(response, code="upstream_error", type="api_error"):
    """An error event of our own; the names of the events before it."""
    document, before = error(response)
    assert document == {
        "type": "error",
        "error": {"type": type, "message": document["error"]["message"], "details": {"error_code": code}},
        "request_id": response.headers["request-id"],
    }
    return document["error"]["message"], [event.name for event in before]


def test_the_end_leaves_only_after_the_commit(app, new_license, sql, state, upstream, send, lock):
    license, came = new_license(), []

    def listen():
        client = app.test_client()
        response = send(license, "[sandbox event_delay_ms=30]", client=client, stream=True, buffered=False)
        came.extend(response.response)
        response.close()

    thread = threading.Thread(target=listen)
    thread.start()
    wait_until(lambda: upstream.calls, what="the call upstream")
    locked = lock()
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock' AND query LIKE '%settle_hold(%'"
    )
    wait_until(lambda: sql(waiting), what="the settlement to wait")

    before = names(b"".join(came))
    assert before[-2:] == ["content_block_delta", "content_block_stop"]
    assert before.count("content_block_delta") == 10
    assert "message_delta" not in before
    assert sql("SELECT state FROM obol.holds") == [("held",)]
    locked.close()
    thread.join()
    assert names(b"".join(came)) == [*before, "message_delta", "message_stop", ""]
    assert sql("SELECT state FROM obol.holds") == [("settled",)]
    assert state(license)[1:] == (0, 2)


def test_events_leave_when_they_come(app, new_license, send, upstream):
    response = send(new_license(), "[sandbox event_delay_ms=100]", stream=True, buffered=False)
    first = next(iter(response.response))

    assert names(first) == ["message_start"]
    assert upstream.used == []
    response.close()


@pytest.mark.parametrize("key", [{}, {"Idempotency-Key": "k"}], ids=["without a key", "keyed"])
def test_what_cannot_be_paid_for_is_withheld(app, send, new_license, state, sql, logged, key):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    message, before = ours(send(license, stream=True, headers=key), "database_error")
    assert "withheld" in message
    assert "message_delta" not in before
    services_of(app).lease.beat()
    assert state(license) == (1000, 0, 1)
    assert [line["delivered"] for line in requests_in(logged)] == [True]

    # Nothing is left behind: the same call again is a new one.
    sql("ALTER TABLE obol.ledger_entries DROP CONSTRAINT no_charges")
    assert names(send(license, stream=True, headers=key).data)[-2:] == ["message_stop", ""]
    assert state(license)[1:] == (0, 2)


@pytest.mark.parametrize(
    ("directives", "words", "delivered"),
    [
        ("cut_after=0", "connection to the model failed", 0),
        ("cut_after=5", "connection to the model failed", 5),
        ("end_after=0", "broke off", 0),
        ("end_after=5", "broke off", 5),
        # All but message_stop, and all but that and message_delta.
        ("end_after=15", "broke off", 14),
        ("cut_after=15", "connection to the model failed", 14),
        ("end_after=14", "broke off", 14),
        ("garbage", "could not be read", 0),
        ("stall_after=5", "did not answer in time", 5),
        ("stall_after=15", "did not answer in time", 14),
        ("no_usage", "could not be read", 14),
    ],
)
def test_an_answer_that_breaks_off_costs_nothing(
    make_client, send, new_license, state, sql, directives, words, delivered
):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()

    response = send(license, f"[sandbox {directives}]", client=client, stream=True)

    timed_out = "stall" in directives
    code, type = ("upstream_timeout", "timeout_error") if timed_out else ("upstream_error", "api_error")
    message, before = ours(response, code, type)
    assert words in message
    assert "Nothing was charged." in message
    assert len(before) == delivered
    assert "message_delta" not in before
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(("after", "delivered"), [(0, 0), (5, 5), (15, 14)])
def test_an_error_event_of_the_upstream_crosses_in_its_own_words(send, new_license, state, sql, after, delivered):
    license = new_license()

    document, before = error(send(license, f"[sandbox error_after={after}]", stream=True))
    assert document == {
        "type": "error",
        "error": {"type": "overloaded_error", "message": "The prompt asked for this error."},
    }
    assert len(before) == delivered
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(
    ("pieces", "words", "delivered"),
    [
        ([START, TEXT, STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, END.replace(b'"end_turn"', b"null"), STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, END, PING * 30_000, STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, END], "broke off", [START, TEXT]),
        ([START, TEXT, END, STOP[:-1]], "broke off", [START, TEXT]),
        ([START.replace(b'"m"', b"7"), TEXT, END, STOP], "could not be read", []),
        ([TEXT, END, STOP], "could not be read", [TEXT]),
        ([START, TEXT, START, END, STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, STOP_BY_ANOTHER_NAME, END, STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, STOP_WITHOUT_NAME, END, STOP], "could not be read", [START, TEXT]),
        ([START, TEXT, END.replace(b'"output_tokens"', b'"future"'), STOP], "could not be read", [START, TEXT]),
        ([START, b"event: message_delta\ndata: {\n\n", STOP], "could not be read", [START]),
        ([START, TEXT, b"no event\n\n", END, STOP], "could not be read", [START, TEXT]),
        ([], "broke off", []),
    ],
    ids=["no end", "no stop_reason", "endless pings", "no stop", "half a stop", "no model", "no usage",
         "two beginnings", "a stop by another name", "a stop without name", "no output_tokens", "broken end", "foreign",
         "nothing"],
)  # fmt: skip
def test_a_stream_that_is_no_answer_costs_nothing(
    make_client, send, new_license, state, sql, upstream_saying, pieces, words, delivered
):
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, pieces)), new_license()

    response = send(license, client=client, stream=True)
    message, _ = ours(response)
    assert words in message
    assert [event.raw for event in error(response)[1]] == delivered
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


def test_an_event_without_end_is_given_up(make_client, send, new_license, state, upstream_saying, monkeypatch):
    monkeypatch.setattr(sse, "LONGEST_EVENT", 100_000)
    endless = [START, TEXT, b"data: " + b"a" * 400_000, END, STOP]
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, endless)), new_license()

    message, before = ours(send(license, client=client, stream=True))
    assert ("could not be read" in message, before) == (True, ["message_start", "content_block_delta"])
    assert state(license) == (1000, 0, 1)


def test_a_long_event_is_none_that_is_too_long(make_client, send, new_license, upstream_saying):
    long = b'event: content_block_delta\ndata: {"delta": {"partial_json": "' + b"a" * 2_000_000 + b'"}}\n\n'
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, [START, long, END, PING, STOP]))

    response = send(new_license(), client=client, stream=True)
    assert (
        response.data
        == START + long + END + PING + STOP + b": obol-credits-charged: 7\n: obol-credits-balance: 993\n\n"
    )


def test_what_comes_after_the_end_is_nobody_s(make_client, send, new_license, state, upstream_saying):
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, [START, TEXT, END, STOP, END, b"event: error\n\n"]))
    license = new_license()

    response = send(license, client=client, stream=True)
    assert names(response.data)[-2:] == ["message_stop", ""]
    assert names(response.data).count("message_delta") == 1
    assert state(license) == (993, 0, 2)


def test_repeated_figures_are_not_added_up(send, new_license, state):
    license = new_license()

    response = send(license, "[sandbox repeat_delta] [sandbox input_tokens=30]", stream=True)
    assert names(response.data).count("message_delta") == 3
    assert b": obol-credits-charged: 40\n: obol-credits-balance: 960\n\n" in response.data
    assert state(license) == (960, 0, 2)


def test_an_empty_refusal_is_delivered_and_costs_nothing(send, new_license, state, sql, upstream_s_own):
    license = new_license()
    raw = json.dumps(
        {"model": "m", "max_tokens": 100, "stream": True, "messages": [{"content": "[sandbox refusal]"}]}
    ).encode()

    response = send(license, raw=raw)
    assert response.data == upstream_s_own(raw) + b": obol-credits-charged: 0\n\n"
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


def test_a_refusal_after_some_output_is_charged(send, new_license, state):
    license = new_license()

    response = send(license, "[sandbox late_refusal] [sandbox input_tokens=30]", stream=True)
    assert b'"stop_reason":"refusal"' in response.data
    assert state(license) == (960, 0, 2)


@pytest.mark.parametrize("stream", [None, False])
def test_no_stream(send, new_license, stream):
    assert send(new_license(), stream=stream).content_type == "application/json"
