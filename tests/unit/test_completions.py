"""What is asked of the upstream and of the database for a call, and what a retry gets."""

import gc
import json
import threading
from dataclasses import replace
from uuid import uuid4

import pytest
from factories import wait_until

from service.problems import Problem
from service.repository import licenses

CHARGE = 40
IMAGE = [{"role": "user", "content": [
    {"type": "text", "text": "[sandbox input_tokens=30]"},
    {"type": "image", "source": {"type": "base64", "data": "A" * 4000}},
]}]  # fmt: skip


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


def test_a_stream_and_what_it_cost(seller, new_license, new_call, lease):
    call = new_call()
    stream = seller.stream(new_license().key, replace(call, raw=call.raw[:-1] + b', "stream": true}'))

    assert (stream.receipt.charged, stream.receipt.max_tokens) == (None, 100)
    names = [event.name for event in stream]
    assert (names[0], names[-1]) == ("message_start", "message_stop")
    assert (stream.receipt.charged, stream.receipt.balance) == (CHARGE, 1000 - CHARGE)
    assert lease._live == {}


def test_a_replayed_answer_has_only_what_was_stored(seller, new_license, new_call):
    license = new_license()
    first = seller.answer(license.key, new_call(idempotency_key="k"))

    again = seller.answer(license.key, new_call(idempotency_key="k"))
    assert again.receipt == replace(first.receipt, max_tokens=None, held=None)
    assert (again.body, again.document, again.upstream_ms) == (first.body, first.document, None)


def test_a_replayed_stream_has_the_same_events(seller, new_license, new_call, upstream, lease):
    license = new_license()
    first = seller.stream(license.key, new_call(idempotency_key="k", stream=True))
    events = list(first)

    again = seller.stream(license.key, new_call(idempotency_key="k", stream=True))
    assert list(again) == events
    again.close()
    assert again.receipt == replace(first.receipt, max_tokens=None, held=None)
    assert (again.message.usage, again.message.stop_reason) == (first.message.usage, "end_turn")
    assert upstream.calls == 1
    assert lease._live == {}


@pytest.mark.parametrize("directive", ["status=529", "close", "delay_ms=1"])
def test_a_stream_that_does_not_begin(seller, new_license, new_call, db, lease, directive):
    license = new_license()

    # No "stream" in the body: the upstream sends what is no stream.
    with pytest.raises(Problem) as refused:
        seller.stream(license.key, new_call(f"[sandbox {directive}]"))
    assert refused.value.code == "upstream_error"
    assert licenses.find(db, license.key).held == 0
    assert lease._live == {}


def test_no_database_connection_is_in_hand_while_the_model_works(seller, flaky, new_license, new_call, upstream):
    license = new_license()
    slow = new_call("[sandbox delay_ms=400]")
    thread = threading.Thread(target=seller.answer, args=(license.key, slow))
    thread.start()
    wait_until(lambda: upstream.calls)

    assert flaky._engine.pool.checkedout() == 0
    thread.join()


def test_an_open_whose_reply_was_lost_is_released_at_the_second_beat(
    refusal, flaky, lease, new_license, new_call, db, upstream
):
    license = new_license()
    flaky.fail("open_hold(", after=True)

    assert refusal(license, new_call()).code == "database_error"

    assert (upstream.calls, licenses.find(db, license.key).held > 0) == (0, True)
    lease.beat()
    lease.beat()
    assert licenses.find(db, license.key).held == 0


def test_a_body_that_is_not_changed_goes_as_it_came(ask, new_license, new_call, upstream):
    ask(new_license(), new_call(future={"a": [1.50]}))

    assert json.loads(upstream.received[0].body).items() >= new_call(future={"a": [1.50]}).body.items()
    assert upstream.count_calls == 0


def test_a_stored_answer_that_no_key_opens_is_gone(make_seller, new_license, new_call, upstream):
    license = new_license()
    make_seller().answer(license.key, new_call(idempotency_key="k"))

    with pytest.raises(Problem, match="answer_gone"):
        make_seller([b"s" * 32]).answer(license.key, new_call(idempotency_key="k"))
    assert upstream.calls == 1


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
    monkeypatch.setattr(seller, "_upstream", seen)
    call = new_call(future={seen.canary: [7]})
    with pytest.raises(Problem, match="upstream_error"):
        getattr(seller, method)(new_license().key, call if as_it_came else replace(call, raw=None))

    assert (call.body, seen.live) == ({}, 0)
    # What goes upstream is the whole of it all the same.
    assert seen.body == new_call().body


def test_a_request_that_is_not_admitted_keeps_its_body(refusal, new_license, new_call):
    call = new_call()
    assert refusal(new_license(credits=5), call).code == "insufficient_credits"
    assert call.body == new_call().body


def deep(levels):
    value = {}
    for _ in range(levels):
        value = {"a": value}
    return value


@pytest.mark.parametrize("method", ["answer", "stream"])
@pytest.mark.parametrize("counted", [False, True])
def test_what_can_be_read_and_not_be_written_opens_no_hold_for_long(
    seller, new_license, new_call, db, sql, lease, upstream, method, counted
):
    license, call = new_license(), new_call()
    call.body.update({"system" if counted else "future": deep(5000)}, **({"messages": IMAGE} if counted else {}))

    with pytest.raises(Problem) as refused:
        getattr(seller, method)(license.key, replace(call, raw=None))
    assert (refused.value.code, refused.value.detail) == ("malformed_request", "The body is nested too deeply.")
    assert licenses.find(db, license.key).held == 0
    assert sql("SELECT state FROM obol.holds") == ([] if counted else [("released",)])
    assert lease._live == {}
    assert upstream.received == []
