"""A prompt is counted where its bytes tell nothing or too much, and never twice."""

import json
from dataclasses import replace

import pytest

from service.gateway.upstream import Upstream
from service.problems import Problem

CHARGE = 40
# The prompt of new_call, as the upstream counts it, with the margin.
COUNTED = 30 + 3 + 32
IMAGE = [{"role": "user", "content": [
    {"type": "text", "text": "[sandbox input_tokens=30]"},
    {"type": "image", "source": {"type": "base64", "data": "A" * 4000}},
]}]  # fmt: skip


def sent(upstream):
    """Path and body of each request that came to the upstream."""
    return [(received.path, json.loads(received.body)) for received in upstream.received]


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


def test_what_was_counted_is_not_counted_again_when_it_is_too_dear(refusal, new_license, new_call, upstream):
    messages = json.loads(json.dumps(IMAGE).replace("input_tokens=30", "input_tokens=3000"))

    refused = refusal(new_license(), new_call(messages=messages))
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
        {"required": 100 + 10 + 32 + 100, "available": 150, "max_cost": 100 + 10 + 32 + 100},
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
def test_a_count_that_fails_opens_no_hold(refusal, new_license, new_call, sql, upstream, lease, directive):
    refused = refusal(new_license(), new_call(f"[sandbox {directive}]", max_credits=110))

    assert refused.code == "upstream_error"
    assert (upstream.count_calls, upstream.calls) == (1, 0)
    assert sql("SELECT * FROM obol.holds") == []
    assert lease._live == {}


@pytest.mark.parametrize(
    "counted",
    [{}, [], *({"input_tokens": value} for value in ("30", True, None, -1, 30.0, 10**9 + 1, float("nan")))],
    ids=str,
)
def test_a_count_that_is_none(seller, refusal, new_license, new_call, monkeypatch, sql, counted):
    monkeypatch.setattr(seller._upstream, "post", lambda *call: json.dumps(counted).encode())

    refused = refusal(new_license(), new_call(max_credits=110))
    assert (refused.code, refused.type.status, refused.retry_after) == ("upstream_error", 502, 1)
    assert sql("SELECT * FROM obol.holds") == []


def test_the_largest_count_is_one(seller, refusal, new_license, new_call, monkeypatch):
    monkeypatch.setattr(seller._upstream, "post", lambda *call: json.dumps({"input_tokens": 10**9}).encode())

    refused = refusal(new_license(), new_call(messages=IMAGE))
    assert (refused.code, refused.extra["required"]) == ("insufficient_credits", 1_100_000_000 + 32 + 100)


def test_a_count_of_nothing_is_one(seller, new_license, new_call):
    call = new_call("[sandbox input_tokens=0]", max_credits=32 + 100)
    assert seller.answer(new_license().key, call).receipt.held == 32 + 100


def test_nothing_is_counted_when_the_answer_alone_is_too_dear(refusal, new_license, new_call, upstream):
    for messages in (IMAGE, [{"role": "user", "content": "a" * 2000}]):
        refused = refusal(new_license(credits=99), new_call(messages=messages))
        assert (refused.code, refused.extra["available"]) == ("insufficient_credits", 99)
        capped = refusal(new_license(), new_call(messages=messages, max_credits=99))
        assert (capped.code, capped.extra) == ("max_credits_exceeded", {"required": 100})
    assert (upstream.count_calls, upstream.calls) == (0, 0)


def test_a_stored_answer_is_found_before_anything_is_counted(seller, new_license, new_call, upstream):
    license = new_license()
    first = seller.answer(license.key, new_call(messages=IMAGE, idempotency_key="k"))

    assert seller.answer(license.key, new_call(messages=IMAGE, idempotency_key="k")).body == first.body
    assert upstream.count_calls == 1


@pytest.mark.parametrize(("max_credits", "max_tokens"), [(COUNTED + 256, 256), (COUNTED + 300, 300), (5000, 1000)])
def test_max_tokens_is_lowered_to_the_cap(ask, new_license, new_call, upstream, max_credits, max_tokens):
    call = new_call("a" * 2000, max_tokens=1000, max_credits=max_credits)

    receipt = ask(new_license(credits=10_000), call)
    assert receipt.max_tokens == max_tokens
    assert receipt.held <= max_credits
    assert sent(upstream)[-1][1]["max_tokens"] == max_tokens


def test_a_prompt_is_kept_as_bytes_alone_while_it_is_counted(seller, new_license, new_call, upstream, monkeypatch):
    written = new_call(messages=IMAGE, max_tokens=1000)
    call = replace(written, raw=json.dumps(written.body).encode())
    post, kept = Upstream.post, []

    def looked_at(self, path, body, headers):
        kept.append(sorted(call.body))
        return post(self, path, body, headers)

    monkeypatch.setattr(Upstream, "post", looked_at)
    # Of the 1,000 tokens of its answer it can pay for fewer, so the request is written anew.
    answer = seller.answer(new_license(credits=COUNTED + 500).key, call)

    assert kept == [["max_tokens", "model"], []]
    assert answer.receipt.max_tokens == 500
    assert sent(upstream)[-1] == ("/v1/messages", {"model": "m", "max_tokens": 500, "messages": IMAGE})
