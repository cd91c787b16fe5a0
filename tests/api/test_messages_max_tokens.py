"""/v1/messages: how max_tokens is lowered to what the balance affords."""

import json

import pytest
from calls import COUNTED, KNOWN, LONG, both, bounds, last_sent


@both
def test_max_tokens_is_lowered_to_what_the_balance_affords(send, new_license, state, upstream, stream):
    license = new_license(credits=500)
    more = {"future": {"a": 1}, "fallbacks": None}

    response = send(license, KNOWN + "[sandbox output_tokens=900]", stream=stream, max_tokens=1000, **more)

    # The bytes leave more than 256: there is no need to count.
    assert upstream.count_calls == 0
    held, max_tokens = bounds(response)
    assert held == 500
    assert 256 < max_tokens < 400
    body = last_sent(upstream)
    assert body == {
        "model": "m",
        "max_tokens": max_tokens,
        "messages": [{"role": "user", "content": KNOWN + "[sandbox output_tokens=900]"}],
        "stream": stream,
        **more,
    }
    raw_length = len(json.dumps(body | {"max_tokens": 1000}))
    assert max_tokens == 500 - raw_length - 32
    assert state(license) == (500 - 30 - max_tokens, 0, 2)


@pytest.mark.parametrize(
    ("credits", "max_tokens"),
    [(COUNTED + 255, None), (COUNTED + 256, 256), (COUNTED + 999, 999), (COUNTED + 1000, 1000)],
)
def test_max_tokens_is_never_lowered_below_what_is_worth_having(
    send, new_license, wire_error, upstream, credits, max_tokens
):
    response = send(new_license(credits=credits), LONG, max_tokens=1000)

    if max_tokens is None:
        details = wire_error(response, "insufficient_credits")
        assert (details["required"], upstream.calls) == (COUNTED + 256, 0)
    else:
        assert bounds(response) == (COUNTED + max_tokens, max_tokens)
        assert last_sent(upstream)["max_tokens"] == max_tokens


@pytest.mark.parametrize(("asked", "least"), [(10, 10), (0, 0), (255, 255), (300, 256)])
def test_what_was_asked_for_is_enough(send, new_license, wire_error, asked, least):
    exact = COUNTED + least
    assert bounds(send(new_license(credits=exact), LONG, max_tokens=asked)) == (exact, least)
    details = wire_error(send(new_license(credits=exact - 1), LONG, max_tokens=asked), "insufficient_credits")
    assert details["required"] == exact


def test_thinking_keeps_its_budget(send, new_license, wire_error, upstream):
    thinking = {"type": "enabled", "budget_tokens": 600}

    exact = COUNTED + 601
    response = send(new_license(credits=exact), LONG, max_tokens=1000, thinking=thinking)
    assert bounds(response) == (exact, 601)
    assert last_sent(upstream)["max_tokens"] == 601
    short = send(new_license(credits=exact - 1), LONG, max_tokens=1000, thinking=thinking)
    assert wire_error(short, "insufficient_credits")["required"] == exact


def test_the_max_tokens_of_fallbacks_are_lowered_too(send, new_license, upstream):
    fallbacks = [{"model": "b", "max_tokens": 2000}, {"model": "c", "max_tokens": 20}, {"model": "d"}]
    response = send(new_license(credits=5000), max_tokens=1500, fallbacks=fallbacks)

    held, max_tokens = bounds(response)
    assert held <= 5000
    assert 256 <= max_tokens < 1500
    assert last_sent(upstream)["max_tokens"] == max_tokens
    assert last_sent(upstream)["fallbacks"] == [
        {"model": "b", "max_tokens": max_tokens},
        {"model": "c", "max_tokens": 20},
        {"model": "d"},
    ]


def test_a_fallback_s_own_max_tokens_can_be_the_one_that_is_lowered(send, new_license, upstream):
    response = send(new_license(credits=5000), max_tokens=100, fallbacks=[{"model": "b", "max_tokens": 9000}])

    assert response.headers["obol-max-tokens"] == "100"
    body = last_sent(upstream)
    assert body["max_tokens"] == 100
    assert 256 <= body["fallbacks"][0]["max_tokens"] < 5000
