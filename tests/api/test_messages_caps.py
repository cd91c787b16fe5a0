"""/v1/messages: what a client's own cap, obol-max-credits, does."""

import pytest
from calls import COUNTED, KNOWN, LONG, both, bounds, last_sent, with_image


@both
@pytest.mark.parametrize("cap", [COUNTED + 256, COUNTED + 300, COUNTED + 900])
def test_a_cap_is_never_exceeded_by_what_is_held_or_charged(send, new_license, state, upstream, cap, stream):
    license = new_license(credits=50_000)

    prompt = LONG + "[sandbox output_tokens=5000]"
    response = send(license, prompt, {"obol-max-credits": str(cap)}, stream=stream, max_tokens=5000)

    max_tokens = cap - COUNTED
    assert bounds(response) == (cap, max_tokens)
    assert last_sent(upstream)["max_tokens"] == max_tokens
    assert state(license) == (50_000 - 30 - max_tokens, 0, 2)
    assert upstream.count_calls == 1


def test_a_cap_that_bytes_fit_in_needs_no_count(send, new_license, upstream):
    response = send(new_license(), KNOWN, {"obol-max-credits": "999"})
    assert bounds(response)[1] == 100
    assert upstream.count_calls == 0


@both
@pytest.mark.parametrize(
    ("prompt", "cap", "required", "counts"),
    [
        (LONG, COUNTED + 99, COUNTED + 100, 1),
        (with_image(), COUNTED + 99, COUNTED + 100, 1),
        (LONG, 99, 100, 0),
        (with_image(), 0, 100, 0),
    ],
    ids=["bytes", "image", "hopeless bytes", "hopeless image"],
)
def test_a_cap_that_is_too_small(send, new_license, wire_error, state, upstream, prompt, cap, required, counts, stream):
    license = new_license()

    details = wire_error(send(license, prompt, {"obol-max-credits": str(cap)}, stream=stream), "max_credits_exceeded")
    assert details == {"error_code": "max_credits_exceeded", "required": required}
    assert (upstream.count_calls, upstream.calls) == (counts, 0)
    assert state(license) == (1000, 0, 1)
    assert send(license, prompt, {"obol-max-credits": str(COUNTED + 100)}, stream=stream).status_code == 200


def test_a_cap_below_an_empty_balance(send, new_license, wire_error, upstream):
    details = wire_error(send(new_license(credits=0), LONG, {"obol-max-credits": "1"}), "insufficient_credits")
    assert details["available"] == 0
    assert upstream.received == []


@pytest.mark.parametrize(
    "cap", ["", "x", "-1", "+1", "1.5", "5.", "1e3", str(2**63), "1 2", "0x10", "1_000", "\xb2", "0" * 21]
)
def test_a_cap_that_is_none(send, new_license, wire_error, upstream, cap):
    details = wire_error(send(new_license(), headers={"obol-max-credits": cap}), "validation_failed")
    assert [error["field"] for error in details["errors"]] == ["obol-max-credits"]
    assert upstream.received == []


def test_the_largest_cap_is_one(send, new_license):
    assert send(new_license(), headers={"obol-max-credits": str(2**63 - 1)}).status_code == 200
    assert send(new_license(), headers={"obol-max-credits": "999".zfill(20)}).status_code == 200
