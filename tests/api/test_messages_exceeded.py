"""Answers that used more than their hold are charged all the same, as far as the client has said that it
will pay; and which model's price is charged when there are fallbacks."""

import pytest
from calls import both, event, message, requests_in

# In tokens and in credits; what is held for it is far less.
DEAR, USED = "[sandbox input_tokens=700]", 710
KEY = {"Idempotency-Key": "k"}


def cap(credits):
    return {"obol-max-credits": str(credits)}


def exceeded(logged):
    return [(line["held"], line["amount"]) for line in logged if line["event"] == "hold_exceeded"]


def shortfalls(logged):
    return [line["credits"] for line in logged if line["event"] == "shortfall"]


@both
@pytest.mark.parametrize(
    ("headers", "charged"), [({}, 710), (cap(711), 710), (cap(710), 710), (cap(709), 709), (cap(500), 500)], ids=str
)
def test_what_was_used_above_the_hold_is_charged_within_the_cap(
    send, new_license, state, sql, logged, upstream, headers, charged, stream
):
    license = new_license()

    first = send(license, DEAR, KEY | headers, stream=stream)
    assert first.status_code == 200
    assert exceeded(logged) == [(int(first.headers["obol-credits-held"]), USED)]
    assert shortfalls(logged) == [USED - charged] * (charged < USED)
    assert [line["credits"] for line in requests_in(logged)] == [charged]
    told = f"obol-credits-charged: {charged}\n: obol-credits-balance: {1000 - charged}\n\n".encode()
    assert first.data.endswith(told) or first.headers["obol-credits-charged"] == str(charged)
    assert sql("SELECT -amount, shortfall FROM obol.ledger_entries WHERE kind = 'charge'") == [
        (charged, USED - charged)
    ]
    assert state(license) == (1000 - charged, 0, 2)
    # It is an answer like any other.
    again = send(license, DEAR, KEY, stream=stream)
    assert (again.data, again.headers["obol-credits-charged"]) == (first.data, str(charged))
    assert upstream.calls == 1


FAR_TOO_MUCH = "[sandbox input_tokens=999999999]"
SAID = "nothing was charged; the operator was told"


@both
def test_what_was_used_far_beyond_the_hold_takes_nothing_and_the_operator_is_told(
    send, new_license, wire_error, state, logged, upstream, stream
):
    license = new_license(credits=10**12)

    response = send(license, FAR_TOO_MUCH, KEY, stream=stream)
    if stream:
        # Its text has left by then, and its end has not.
        last = response.data.partition(b"event: error\n")[2]
        assert (b"message_stop" not in response.data, SAID.encode() in last) == (True, True)
    else:
        assert wire_error(response, "upstream_error") == {"error_code": "upstream_error"}
        assert SAID in response.get_json()["error"]["message"]
    (line,) = [line for line in logged if line["event"] == "usage_implausible"]
    assert (line["license_id"], line["amount"]) == (str(license.id), 999_999_999 + 10)
    assert state(license) == (10**12, 0, 1)
    # Its key is free again.
    send(license, FAR_TOO_MUCH, KEY, stream=stream)
    assert upstream.calls == 2


@both
def test_generate_keeps_to_the_cap_as_well(client, new_license, state, logged, stream):
    license = new_license()
    request = {"prompt": DEAR, "stream": stream, "max_tokens": 100}

    response = client.post("/api/v1/generate", json=request, headers=license.headers | cap(500), buffered=True)
    assert response.status_code == 200
    assert b'"credits":{"charged":500,"balance":500}' in response.data
    assert (len(exceeded(logged)), shortfalls(logged)) == (1, [210])
    assert state(license) == (500, 0, 2)


def said_by(model, stream):
    usage = {"input_tokens": 30, "output_tokens": 10}
    if not stream:
        return message(model=model, usage=usage)
    return [
        event("message_start", message={"model": model, "usage": usage}),
        event("content_block_delta", delta={"text": "Hi"}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage=usage),
        event("message_stop"),
    ]


@both
@pytest.mark.parametrize(
    ("answered_by", "charged_as", "charge"),
    [
        ("m", "m", 40),
        ("m-20251001", "m", 40),
        ("cheap", "cheap", 20),
        ("b", "b", 400),
        ("b-20251001", "b", 400),
        ("unheard-of", "b", 400),
        ("m-fast", "b", 400),
        ("", "b", 400),
    ],
)
def test_without_iterations_the_message_s_model_tells_the_price(
    make_client, priced, send, new_license, sql, state, upstream_saying, answered_by, charged_as, charge, stream
):
    priced("b", **dict.fromkeys(("input", "output", "cache_read"), 10))
    priced("cheap", input=0.5, output=0.5)
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, said_by(answered_by, stream)))
    license = new_license(credits=10_000)

    send(license, client=client, stream=stream, fallbacks=[{"model": "cheap"}, {"model": "b"}])
    ((amount, usage),) = sql("SELECT amount, usage FROM obol.ledger_entries WHERE kind = 'charge'")
    assert (-amount, [attempt["model"] for attempt in usage["attempts"]]) == (charge, [charged_as])
    assert state(license) == (10_000 - charge, 0, 2)


@both
def test_without_fallbacks_it_does_not_matter_who_says_that_it_answered(
    make_client, priced, send, new_license, sql, upstream_saying, stream
):
    priced("b", input=99, output=99)
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, said_by("b", stream)))

    send(new_license(), client=client, stream=stream)
    ((amount, usage),) = sql("SELECT amount, usage FROM obol.ledger_entries WHERE kind = 'charge'")
    assert (amount, "model" in usage, "attempts" in usage) == (-40, False, False)
