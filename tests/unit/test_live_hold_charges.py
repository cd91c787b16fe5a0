"""What a hold is charged, up to what the client allows, and what of it the log tells the operator."""

import json
from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from service.problems import Problem
from service.repository import licenses

CHARGE = 40


def losses(lines):
    return [(line["reason"], line["upstream_usage"]) for line in lines if line["event"] == "operator_loss"]


def shortfalls(lines):
    return [(line["hold_id"], line["credits"]) for line in lines if line["event"] == "shortfall"]


def test_what_the_upstream_charges_us_for_and_nobody_pays_is_logged(seller, new_license, new_call):
    license = new_license()
    with capture_logs() as lines:
        seller.answer(license.key, new_call("[sandbox refusal]"))
        with pytest.raises(Problem):
            seller.answer(license.key, new_call("[sandbox close]"))
    # Neither an answer that never came nor a refusal before any output costs anybody anything.
    assert losses(lines) == []


def test_of_what_the_upstream_says_that_it_used_only_counts_are_logged(seller, new_license, new_call, monkeypatch):
    usage = {"input_tokens": 7, "output_tokens": -1, "service_tier": "a secret", "iterations": [{"a": 1}], "b": True}
    message = {"model": "m", "content": [], "stop_reason": "end_turn", "usage": usage}
    monkeypatch.setattr(seller._upstream, "post", lambda *call: json.dumps(message).encode())

    with capture_logs() as lines, pytest.raises(Problem, match="upstream_error"):
        seller.answer(new_license().key, new_call())
    assert losses(lines) == [("usage_missing", {"input_tokens": 7, "output_tokens": -1})]
    assert "secret" not in json.dumps(lines)


def test_an_answer_that_does_not_say_what_it_used_is_not_given(seller, new_license, new_call, db):
    license = new_license()

    with capture_logs() as lines, pytest.raises(Problem) as refused:
        seller.answer(license.key, new_call("[sandbox no_usage]"))
    assert (refused.value.code, refused.value.retry_after) == ("upstream_error", 1)
    assert len([line for line in lines if line["event"] == "usage_missing"]) == 1
    assert losses(lines) == []
    assert licenses.find(db, license.key).available == 1000


def test_requests_of_server_tools_are_noticed(seller, new_license, new_call, monkeypatch):
    monkeypatch.setattr("service.gateway.live_hold.count_unpriced", lambda wire: {"web_search_requests": 2})

    with capture_logs() as lines:
        receipt = seller.answer(new_license().key, new_call()).receipt
    assert [(line["hold_id"], line["requests"]) for line in lines if line["event"] == "usage_unpriced"] == [
        (str(receipt.hold_id), {"web_search_requests": 2})
    ]
    assert receipt.charged == CHARGE


def test_a_shortfall_is_logged(seller, new_license, new_call):
    license = new_license(credits=300)

    with capture_logs() as lines:
        receipt = seller.answer(license.key, new_call("[sandbox input_tokens=400]")).receipt
    assert (receipt.charged, receipt.balance) == (300, 0)
    assert shortfalls(lines) == [(str(receipt.hold_id), 110)]


# More than any hold of new_call, in tokens and in credits.
DEAR, DEAR_CHARGE = "[sandbox input_tokens=700]", 710


def exceeded(lines):
    return [(line["hold_id"], line["held"], line["amount"]) for line in lines if line["event"] == "hold_exceeded"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("balance", "max_credits", "charged"),
    [(1000, None, 710), (1000, 711, 710), (1000, 710, 710), (1000, 709, 709), (1000, 500, 500), (700, 709, 700)],
)
def test_a_charge_above_what_was_held_is_logged_and_kept_within_the_client_s_cap(
    seller, new_license, new_call, db, lease, upstream, balance, max_credits, charged, stream
):
    license = new_license(credits=balance)

    def ask():
        call = new_call(DEAR, idempotency_key="k", max_credits=max_credits, **({"stream": True} if stream else {}))
        answer = seller.stream(license.key, call) if stream else seller.answer(license.key, call)
        return answer.receipt, list(answer) if stream else answer.body

    with capture_logs() as lines:
        receipt, answer = ask()
    assert (receipt.charged, receipt.balance) == (charged, balance - charged)
    hold_id = str(receipt.hold_id)
    assert exceeded(lines) == [(hold_id, receipt.held, DEAR_CHARGE)]
    assert receipt.held < charged
    assert shortfalls(lines) == ([(hold_id, DEAR_CHARGE - charged)] if charged < DEAR_CHARGE else [])
    assert losses(lines) == []
    assert (licenses.find(db, license.key).balance, licenses.find(db, license.key).held) == (balance - charged, 0)
    assert lease._live == {}
    # It is an answer like any other.
    again, same = ask()
    assert (again, same) == (replace(receipt, max_tokens=None, held=None), answer)
    assert upstream.calls == 1


def implausible(lines):
    return [line for line in lines if line["event"] == "usage_implausible"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("max_credits", [None, 500])
def test_a_usage_that_no_bound_can_be_wrong_by_takes_nothing(
    seller, new_license, new_call, db, lease, state_of, max_credits, stream
):
    license = new_license(credits=10**12)
    prompt, more = "[sandbox input_tokens=999999999]", {"stream": True} if stream else {}
    call = new_call(prompt, idempotency_key="k", max_credits=max_credits, **more)

    with capture_logs() as lines, pytest.raises(Problem) as refused:
        list(seller.stream(license.key, call)) if stream else seller.answer(license.key, call)
    (line,) = implausible(lines)
    assert (refused.value.code, refused.value.retry_after) == ("upstream_error", None)
    assert "nothing was charged; the operator was told" in refused.value.detail
    assert line["log_level"] == "error"
    assert line["license_id"] == str(license.id)
    assert (line["amount"], 100 < line["held"] < 1000) == (999_999_999 + 10, True)
    assert [loss["reason"] for loss in lines if loss["event"] == "operator_loss"] == ["usage_implausible"]
    assert state_of(line["hold_id"]) == "released"
    assert (licenses.find(db, license.key).balance, licenses.find(db, license.key).held) == (10**12, 0)
    assert lease._live == {}


# A prompt of 10,000 bytes and 100 tokens of answer: the hold is above 10,000 credits.
LONG = "a" * 10_000


@pytest.mark.parametrize(
    ("prompt", "input_tokens", "taken"),
    [
        # Ten times the hold of a few hundred credits are few tokens: some description is missing in a bound.
        ("", 99_990, True),
        ("", 99_991, False),
        (LONG, 100_000, True),
        (LONG, 120_000, False),
    ],
    ids=str,
)
def test_only_what_is_both_many_times_the_hold_and_many_tokens_is_implausible(
    seller, new_license, new_call, prompt, input_tokens, taken
):
    license, call = new_license(credits=10**6), new_call(f"{prompt}[sandbox input_tokens={input_tokens:06}]")

    with capture_logs() as lines:
        if taken:
            assert seller.answer(license.key, call).receipt.charged == input_tokens + 10
        else:
            with pytest.raises(Problem, match="upstream_error"):
                seller.answer(license.key, call)
    assert bool(exceeded(lines)) == taken
    assert bool(implausible(lines)) != taken


@pytest.mark.parametrize(("input_tokens", "is_exceeded"), [(0, False), (1, True)])
def test_a_charge_of_just_what_was_held_exceeds_nothing(seller, new_license, new_call, input_tokens, is_exceeded):
    prompt = "[sandbox input_tokens=%03d]"
    call = new_call(prompt % 0)
    bound = len(call.raw) + 32 + 100 - 10

    with capture_logs() as lines:
        receipt = seller.answer(new_license().key, new_call(prompt % (bound + input_tokens))).receipt
    assert receipt.charged == receipt.held + input_tokens
    assert bool(exceeded(lines)) == is_exceeded
