"""What is set aside for a call, what goes upstream, and what a retry gets."""

import gc
import json
import threading
from dataclasses import replace
from uuid import uuid4

import pytest
from factories import wait_until

from service import sandbox
from service.problems import Problem
from service.repository import licenses

CHARGE = 40
# The prompt of new_call, as the upstream counts it, with the margin.
COUNTED = 30 + 3 + 32
IMAGE = [{"role": "user", "content": [
    {"type": "text", "text": "[sandbox input_tokens=30]"},
    {"type": "image", "source": {"type": "base64", "data": "A" * 4000}},
]}]  # fmt: skip


@pytest.fixture
def upstream():
    server = sandbox.start(record=True)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(params=["answer", "stream"])
def ask(request, seller):
    """`ask(license, call)`: the receipt of a call, whole or streamed; its body is emptied."""

    def whole(license, call):
        return seller.answer(license.key, call).receipt

    def streamed(license, call):
        body = dict(call.body, stream=True)
        stream = seller.stream(license.key, replace(call, body=body, raw=json.dumps(body).encode()))
        call.body.clear()
        assert [event.name for event in stream][-1] == "message_stop"
        return stream.receipt

    return whole if request.param == "answer" else streamed


def sent(upstream):
    """Path and body of each request that came to the upstream."""
    return [(received.path, json.loads(received.body)) for received in upstream.received]


def refusal(seller, license, call):
    with pytest.raises(Problem) as refused:
        seller.answer(license.key, call)
    return refused.value


def test_an_answer_and_what_it_cost(seller, new_license, new_call, db):
    license, call = new_license(), new_call()

    answer = seller.answer(license.key, call)

    receipt = answer.receipt
    assert (receipt.charged, receipt.balance, receipt.max_tokens) == (CHARGE, 1000 - CHARGE, 100)
    assert call.body == {}
    assert receipt.held == len(call.raw) + 32 + 100
    assert json.loads(answer.body) == answer.document
    assert (answer.message.model, answer.message.stop_reason) == ("sandbox/m", "end_turn")
    assert answer.upstream_ms > 0
    assert licenses.find(db, license.key).held == 0


def test_a_stream_and_what_it_cost(seller, new_license, new_call, leases):
    call = new_call()
    stream = seller.stream(new_license().key, replace(call, raw=call.raw[:-1] + b', "stream": true}'))

    assert (stream.receipt.charged, stream.receipt.max_tokens) == (None, 100)
    names = [event.name for event in stream]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    assert (stream.receipt.charged, stream.receipt.balance) == (CHARGE, 1000 - CHARGE)
    assert leases._live == set()


def test_a_replayed_answer_has_only_what_was_stored(seller, new_license, new_call):
    license = new_license()
    first = seller.answer(license.key, new_call(idempotency_key="k"))

    again = seller.answer(license.key, new_call(idempotency_key="k"))
    assert again.receipt == replace(first.receipt, max_tokens=None, held=None)
    assert (again.body, again.document, again.upstream_ms) == (first.body, first.document, None)


def test_a_replayed_stream_has_the_same_events(seller, new_license, new_call, upstream, leases):
    license = new_license()
    first = seller.stream(license.key, new_call(idempotency_key="k", stream=True))
    events = list(first)

    again = seller.stream(license.key, new_call(idempotency_key="k", stream=True))
    assert list(again) == events
    again.close()
    assert again.receipt == replace(first.receipt, max_tokens=None, held=None)
    assert (again.message.usage, again.message.stop_reason) == (first.message.usage, "end_turn")
    assert upstream.calls == 1
    assert leases._live == set()


@pytest.mark.parametrize("directive", ["status=529", "close", "delay_ms=1"])
def test_a_stream_that_does_not_begin(seller, new_license, new_call, db, leases, directive):
    license = new_license()

    # No "stream" in the body: the upstream sends what is no stream.
    with pytest.raises(Problem) as refused:
        seller.stream(license.key, new_call(f"[sandbox {directive}]"))
    assert refused.value.code == "upstream_error"
    assert licenses.find(db, license.key).held == 0
    assert leases._live == set()


def test_no_database_connection_is_in_hand_while_the_model_works(seller, flaky, new_license, new_call, upstream):
    license = new_license()
    slow = new_call("[sandbox delay_ms=400]")
    thread = threading.Thread(target=seller.answer, args=(license.key, slow))
    thread.start()
    wait_until(lambda: upstream.calls)

    assert flaky._engine.pool.checkedout() == 0
    thread.join()


def test_an_open_whose_reply_was_lost_is_released_at_the_second_beat(
    seller, flaky, leases, new_license, new_call, db, upstream
):
    license = new_license()
    flaky.function, flaky.failures, flaky.after = "open_hold", 1, True

    assert refusal(seller, license, new_call()).code == "database_error"

    assert (upstream.calls, licenses.find(db, license.key).held > 0) == (0, True)
    leases.beat()
    leases.beat()
    assert licenses.find(db, license.key).held == 0


def test_a_body_that_is_not_changed_goes_as_it_came(ask, new_license, new_call, upstream):
    ask(new_license(), new_call(future={"a": [1.50]}))

    assert json.loads(upstream.received[0].body).items() >= new_call(future={"a": [1.50]}).body.items()
    assert upstream.count_calls == 0


def test_bytes_that_are_too_dear_are_counted(ask, new_license, new_call, upstream):
    call = new_call("a" * 2000, max_tokens=400)

    receipt = ask(new_license(credits=1000), call)
    assert (receipt.held, receipt.max_tokens, receipt.charged) == (COUNTED + 400, 400, CHARGE)
    assert [path for path, _ in sent(upstream)] == ["/v1/messages/count_tokens", "/v1/messages"]


def test_what_has_to_be_counted_is_counted_once_before_the_hold(ask, new_license, new_call, upstream):
    receipt = ask(new_license(), new_call(messages=IMAGE))

    assert (receipt.held, receipt.max_tokens) == (COUNTED + 100, 100)
    assert sent(upstream)[0] == ("/v1/messages/count_tokens", {"model": "m", "messages": IMAGE})
    assert upstream.count_calls == 1


def test_what_was_counted_is_not_counted_again_when_it_is_too_dear(seller, new_license, new_call, upstream):
    messages = json.loads(json.dumps(IMAGE).replace("input_tokens=30", "input_tokens=3000"))

    refused = refusal(seller, new_license(), new_call(messages=messages))
    assert (refused.code, refused.extra["required"]) == ("insufficient_credits", 3000 + 300 + 32 + 100)
    assert upstream.count_calls == 1
    assert upstream.calls == 0


@pytest.mark.parametrize("max_credits", [None, 400])
def test_bytes_that_were_counted_are_not_counted_again_when_they_are_too_dear(
    ask, new_license, new_call, upstream, max_credits
):
    license, call = new_license(credits=150), new_call("[sandbox input_tokens=100]" + "a" * 2000)

    with pytest.raises(Problem) as refused:
        ask(license, replace(call, max_credits=max_credits))
    assert (refused.value.code, refused.value.extra) == (
        "insufficient_credits",
        {"required": 100 + 10 + 32 + 100, "available": 150},
    )
    assert (upstream.count_calls, upstream.calls) == (1, 0)


def test_what_is_not_counted_is_held_in_addition(ask, new_license, new_call, upstream):
    output_format = {"type": "json_schema", "schema": {"a": 1}}
    receipt = ask(new_license(credits=10_000), new_call(messages=IMAGE, output_format=output_format))

    assert receipt.held == COUNTED + len(json.dumps({"output_format": output_format})) + 1024 + 100
    assert sent(upstream)[0][1] == {"model": "m", "messages": IMAGE}
    assert sent(upstream)[1][1]["output_format"] == output_format


def test_each_model_counts_for_itself(seller, new_license, new_call, upstream):
    call = new_call(messages=IMAGE, fallbacks=[{"model": "b"}, {"model": "c"}])
    seller.answer(new_license(credits=10_000).key, call)

    assert [body["model"] for _, body in sent(upstream)] == ["m", "b", "c", "m"]


@pytest.mark.parametrize("directive", ["count_garbage", "count_close", "count_status=529"])
def test_a_count_that_fails_opens_no_hold(seller, new_license, new_call, sql, upstream, leases, directive):
    refused = refusal(seller, new_license(), new_call(f"[sandbox {directive}]", max_credits=110))

    assert refused.code == "upstream_error"
    assert (upstream.count_calls, upstream.calls) == (1, 0)
    assert sql("SELECT * FROM obol.holds") == []
    assert leases._live == set()


@pytest.mark.parametrize(
    "counted",
    [{}, [], *({"input_tokens": value} for value in ("30", True, None, -1, 30.0, 10**9 + 1, float("nan")))],
    ids=str,
)
def test_a_count_that_is_none(seller, new_license, new_call, monkeypatch, sql, counted):
    monkeypatch.setattr(seller._client, "post", lambda *call: json.dumps(counted).encode())

    refused = refusal(seller, new_license(), new_call(max_credits=110))
    assert (refused.code, refused.type.status, refused.retry_after) == ("upstream_error", 502, 1)
    assert sql("SELECT * FROM obol.holds") == []


def test_the_largest_count_is_one(seller, new_license, new_call, monkeypatch):
    monkeypatch.setattr(seller._client, "post", lambda *call: json.dumps({"input_tokens": 10**9}).encode())

    refused = refusal(seller, new_license(), new_call(messages=IMAGE))
    assert (refused.code, refused.extra["required"]) == ("insufficient_credits", 1_100_000_000 + 32 + 100)


def test_a_count_of_nothing_is_one(seller, new_license, new_call):
    call = new_call("[sandbox input_tokens=0]", max_credits=32 + 100)
    assert seller.answer(new_license().key, call).receipt.held == 32 + 100


def test_nothing_is_counted_when_the_answer_alone_is_too_dear(seller, new_license, new_call, upstream):
    for messages in (IMAGE, [{"role": "user", "content": "a" * 2000}]):
        refused = refusal(seller, new_license(credits=99), new_call(messages=messages))
        assert (refused.code, refused.extra["available"]) == ("insufficient_credits", 99)
        capped = refusal(seller, new_license(), new_call(messages=messages, max_credits=99))
        assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 100})
    assert (upstream.count_calls, upstream.calls) == (0, 0)


def test_a_stored_answer_is_found_before_anything_is_counted(seller, new_license, new_call, upstream):
    license = new_license()
    first = seller.answer(license.key, new_call(messages=IMAGE, idempotency_key="k"))

    assert seller.answer(license.key, new_call(messages=IMAGE, idempotency_key="k")).body == first.body
    assert upstream.count_calls == 1


def test_a_stored_answer_that_no_key_opens_is_gone(make_seller, new_license, new_call, upstream):
    license = new_license()
    make_seller().answer(license.key, new_call(idempotency_key="k"))

    assert refusal(make_seller([b"s" * 32]), license, new_call(idempotency_key="k")).code == "answer_gone"
    assert upstream.calls == 1


@pytest.mark.parametrize(("max_credits", "max_tokens"), [(COUNTED + 256, 256), (COUNTED + 300, 300), (5000, 1000)])
def test_max_tokens_is_lowered_to_the_cap(ask, new_license, new_call, upstream, max_credits, max_tokens):
    call = new_call("a" * 2000, max_tokens=1000, max_credits=max_credits)

    receipt = ask(new_license(credits=10_000), call)
    assert receipt.max_tokens == max_tokens
    assert receipt.held <= max_credits
    assert sent(upstream)[-1][1]["max_tokens"] == max_tokens


class Seen:
    """A client of an upstream that fails, and sees what is in memory when it is asked."""

    def __init__(self, canary):
        self.canary = canary

    def post(self, path, request, headers):
        gc.collect()
        self.body = json.loads(request)
        self.body.pop("future")
        self.live = sum(found.get(self.canary) == [7] for found in gc.get_objects() if isinstance(found, dict))
        raise Problem("upstream_error", "Nothing was charged.")

    stream = post


@pytest.mark.parametrize("method", ["answer", "stream"])
@pytest.mark.parametrize("as_it_came", [True, False])
def test_while_the_model_works_the_request_is_bytes_and_nothing_else(
    seller, new_license, new_call, monkeypatch, method, as_it_came
):
    seen = Seen(f"canary-{uuid4()}")
    monkeypatch.setattr(seller, "_client", seen)
    call = new_call(future={seen.canary: [7]})
    with pytest.raises(Problem, match="upstream_error"):
        getattr(seller, method)(new_license().key, call if as_it_came else replace(call, raw=None))

    assert (call.body, seen.live) == ({}, 0)
    # What goes upstream is the whole of it all the same.
    assert seen.body == new_call().body


def test_a_request_that_is_not_admitted_keeps_its_body(seller, new_license, new_call):
    call = new_call()
    assert refusal(seller, new_license(credits=5), call).code == "insufficient_credits"
    assert call.body == new_call().body


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("method", ["answer", "stream"])
@pytest.mark.parametrize("counted", [False, True])
def test_what_can_be_read_and_not_be_written_opens_no_hold_for_long(
    seller, new_license, new_call, db, sql, leases, upstream, method, counted
):
    license, call = new_license(), new_call()
    call.body.update({"system" if counted else "future": deep(5000)}, **({"messages": IMAGE} if counted else {}))

    with pytest.raises(Problem) as refused:
        getattr(seller, method)(license.key, replace(call, raw=None))
    assert (refused.value.code, refused.value.detail) == ("malformed_request", "The body is nested too deeply.")
    assert licenses.find(db, license.key).held == 0
    assert sql("SELECT state FROM obol.holds") == ([] if counted else [("released",)])
    assert leases._live == set()
    assert upstream.received == []
