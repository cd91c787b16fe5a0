"""What is set aside for a call to /v1/messages: its bytes, or its count when those are too dear; how
max_tokens is lowered to fit; and what a client's own cap does."""

import json

import pytest

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 4000}}
KNOWN = "[sandbox input_tokens=30]"
# That prompt as the upstream counts it, with the margin.
COUNTED = 30 + 3 + 32
# Bytes that are much more than that.
LONG = KNOWN + "a" * 2000

both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def with_image(directives=KNOWN):
    return [{"type": "text", "text": directives}, IMAGE]


def paths(upstream):
    return [received.path for received in upstream.received]


def sent(upstream):
    """The body of the last request that came to the upstream."""
    return json.loads(upstream.received[-1].body)


def told(response):
    """(held, max_tokens) as the headers have it."""
    return int(response.headers["obol-credits-held"]), int(response.headers["obol-max-tokens"])


@both
def test_the_bytes_of_a_request_bound_it(send, new_license, sql, upstream, stream):
    response = send(new_license(), "é" * 10, stream=stream)

    raw = upstream.received[0].body
    assert told(response) == (len(raw) + 32 + 100, 100)
    assert sql("SELECT amount, state FROM obol.holds") == [(len(raw) + 132, "settled")]
    assert upstream.count_calls == 0


@pytest.mark.parametrize(
    ("more", "tokens"),
    [
        ({"tools": [{"name": "a", "input_schema": {}}]}, 1024),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}, {"name": "a", "input_schema": {}}]}, 2048),
        ({"thinking": {"type": "adaptive"}}, 1024),
        ({"output_config": {"format": {"type": "json_schema", "schema": {}}}}, 1024),
        ({"system": "Be short.", "metadata": {"user_id": "u"}}, 0),
        ({"messages": [{"role": "user", "content": [
            {"type": "tool_use", "id": "t", "name": "a", "input": {"source": {"type": "url"}, "type": "image"}},
            {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Hi"}},
        ]}]}, 0),
    ],
    ids=["tools", "a tool of theirs", "thinking", "output_config", "none", "blocks"],
)  # fmt: skip
def test_what_the_upstream_adds_is_in_the_hold(send, new_license, upstream, more, tokens):
    response = send(new_license(credits=10_000), **more)
    assert told(response) == (len(upstream.received[0].body) + 32 + tokens + 100, 100)
    assert upstream.count_calls == 0


@both
def test_bytes_that_are_too_dear_are_counted(send, new_license, state, upstream, stream):
    license = new_license(credits=1000)

    response = send(license, LONG, stream=stream, max_tokens=500)

    assert told(response) == (COUNTED + 500, 500)
    assert paths(upstream) == ["/v1/messages/count_tokens", "/v1/messages"]
    assert state(license) == (960, 0, 2)


def test_a_count_is_asked_for_as_the_call_will_be_made(send, new_license, upstream):
    beta = {"anthropic-beta": "a,b", "anthropic-version": "2099-01-01"}
    fields = {"system": "s", "tools": [{"name": "a", "input_schema": {}}], "thinking": {"type": "adaptive"}}
    response = send(
        new_license(credits=2000),
        LONG,
        headers=beta,
        path="/v1/messages?beta=true",
        temperature=1,
        future=[1],
        **fields,
    )

    assert response.status_code == 200
    count, call = upstream.received
    assert count.path == "/v1/messages/count_tokens?beta=true"
    assert json.loads(count.body) == {"model": "m", "messages": [{"role": "user", "content": LONG}], **fields}
    assert {name: count.headers[name] for name in beta} == beta == {name: call.headers[name] for name in beta}


@both
@pytest.mark.parametrize(
    "block",
    [
        IMAGE,
        {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"}},
        {"type": "tool_result", "tool_use_id": "t", "content": [IMAGE]},
        {"type": "document", "source": {"type": "text", "data": "Hi"}, "citations": {"enabled": True}},
        {"type": "tool_definition", "definition": {"type": "bash_20250124", "name": "bash"}},
    ],
    ids=["image", "document", "nested", "citations", "a tool of theirs"],
)
def test_what_bytes_do_not_bound_is_counted_and_held_with_a_margin(send, new_license, state, upstream, block, stream):
    license = new_license(credits=10_000)
    prompt = [{"type": "text", "text": "[sandbox input_tokens=1601]"}, block]

    response = send(license, prompt, stream=stream)

    assert told(response) == (1601 + 161 + 32 + 100, 100)
    assert (upstream.count_calls, upstream.calls) == (1, 1)
    assert state(license) == (10_000 - 1611, 0, 2)


@pytest.mark.parametrize(
    ("more", "added"),
    [
        ({"tools": [{"type": "browser_toolset_20260101", "name": "browser"}]}, 0),
        ({"output_format": {"type": "json_schema"}}, len('{"output_format": {"type": "json_schema"}}') + 1024),
    ],
    ids=["toolset", "output_format"],
)
def test_what_is_counted_alone_and_what_is_held_beside_a_count(send, new_license, upstream, more, added):
    prompt = with_image("[sandbox input_tokens=1601]") if added else "[sandbox input_tokens=1601]"

    response = send(new_license(credits=10_000), prompt, **more)
    assert told(response) == (1601 + 161 + 32 + added + 100, 100)
    assert upstream.count_calls == 1
    assert json.loads(upstream.received[0].body).get("tools") == more.get("tools")


def test_what_an_image_would_cost_is_said_when_it_is_too_dear(send, new_license, wire_error, state, upstream):
    license = new_license(credits=1000)

    details = wire_error(send(license, with_image("[sandbox input_tokens=1600]")), "insufficient_credits")
    assert (details["required"], details["available"]) == (1600 + 160 + 32 + 100, 1000)
    assert upstream.calls == 0
    assert state(license) == (1000, 0, 1)


@both
def test_no_call_is_made_for_a_balance_without_hope(send, new_license, wire_error, state, upstream, stream):
    for credits in (0, 99):
        license = new_license(credits=credits)
        for prompt in ("Hello", LONG, with_image()):
            details = wire_error(send(license, prompt, stream=stream), "insufficient_credits")
            assert details["available"] == credits
        assert state(license)[:2] == (credits, 0)
    assert upstream.received == []


@both
def test_max_tokens_is_lowered_to_what_the_balance_affords(send, new_license, state, upstream, stream):
    license = new_license(credits=500)
    more = {"future": {"a": 1}, "fallbacks": None}

    response = send(license, KNOWN + "[sandbox output_tokens=900]", stream=stream, max_tokens=1000, **more)

    # The bytes leave more than 256: there is no need to count.
    assert upstream.count_calls == 0
    held, max_tokens = told(response)
    assert held == 500
    assert 256 < max_tokens < 400
    body = sent(upstream)
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
        assert told(response) == (COUNTED + max_tokens, max_tokens)
        assert sent(upstream)["max_tokens"] == max_tokens


@pytest.mark.parametrize(("asked", "least"), [(10, 10), (0, 0), (255, 255), (300, 256)])
def test_what_was_asked_for_is_enough(send, new_license, wire_error, asked, least):
    exact = COUNTED + least
    assert told(send(new_license(credits=exact), LONG, max_tokens=asked)) == (exact, least)
    details = wire_error(send(new_license(credits=exact - 1), LONG, max_tokens=asked), "insufficient_credits")
    assert details["required"] == exact


def test_thinking_keeps_its_budget(send, new_license, wire_error, upstream):
    thinking = {"type": "enabled", "budget_tokens": 600}

    exact = COUNTED + 601
    response = send(new_license(credits=exact), LONG, max_tokens=1000, thinking=thinking)
    assert told(response) == (exact, 601)
    assert sent(upstream)["max_tokens"] == 601
    short = send(new_license(credits=exact - 1), LONG, max_tokens=1000, thinking=thinking)
    assert wire_error(short, "insufficient_credits")["required"] == exact


def test_the_max_tokens_of_fallbacks_are_lowered_too(send, new_license, upstream):
    fallbacks = [{"model": "b", "max_tokens": 2000}, {"model": "c", "max_tokens": 20}, {"model": "d"}]
    response = send(new_license(credits=5000), max_tokens=1500, fallbacks=fallbacks)

    held, max_tokens = told(response)
    assert held <= 5000
    assert 256 <= max_tokens < 1500
    assert sent(upstream)["max_tokens"] == max_tokens
    assert sent(upstream)["fallbacks"] == [
        {"model": "b", "max_tokens": max_tokens},
        {"model": "c", "max_tokens": 20},
        {"model": "d"},
    ]


def test_a_fallback_s_own_max_tokens_can_be_the_one_that_is_lowered(send, new_license, upstream):
    response = send(new_license(credits=5000), max_tokens=100, fallbacks=[{"model": "b", "max_tokens": 9000}])

    assert response.headers["obol-max-tokens"] == "100"
    body = sent(upstream)
    assert body["max_tokens"] == 100
    assert 256 <= body["fallbacks"][0]["max_tokens"] < 5000


def test_a_hold_covers_what_each_attempt_can_cost(priced, send, new_license, upstream):
    priced("b", input=2, output=3, cache_read=0)
    response = send(new_license(credits=10_000), fallbacks=[{"model": "b"}])

    tokens = len(upstream.received[0].body) + 32
    # The second reads the prompt and what the first has written.
    assert told(response) == (tokens + 100 + 2 * tokens + (3 + 2) * 100, 100)


@both
@pytest.mark.parametrize("cap", [COUNTED + 256, COUNTED + 300, COUNTED + 900])
def test_a_cap_is_never_exceeded_by_what_is_held_or_charged(send, new_license, state, upstream, cap, stream):
    license = new_license(credits=50_000)

    prompt = LONG + "[sandbox output_tokens=5000]"
    response = send(license, prompt, {"obol-max-credits": str(cap)}, stream=stream, max_tokens=5000)

    max_tokens = cap - COUNTED
    assert told(response) == (cap, max_tokens)
    assert sent(upstream)["max_tokens"] == max_tokens
    assert state(license) == (50_000 - 30 - max_tokens, 0, 2)
    assert upstream.count_calls == 1


def test_a_cap_that_bytes_fit_in_needs_no_count(send, new_license, upstream):
    response = send(new_license(), KNOWN, {"obol-max-credits": "999"})
    assert told(response)[1] == 100
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


def test_a_count_that_fails_is_the_upstream_s_error_and_costs_nothing(
    make_client, send, new_license, wire_error, sql, state, upstream
):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()
    for directive, code in (
        ("count_close", "upstream_error"),
        ("count_garbage", "upstream_error"),
        ("count_delay_ms=3000", "upstream_timeout"),
    ):
        response = send(license, with_image(f"[sandbox {directive}]"), {"Idempotency-Key": "k"}, client)
        wire_error(response, code, "1")

    response = send(license, with_image("[sandbox count_status=400]"), {"Idempotency-Key": "k"}, client)
    assert (response.status_code, response.get_json()["error"]["type"]) == (400, "invalid_request_error")
    assert (upstream.count_calls, upstream.calls) == (4, 0)
    assert sql("SELECT * FROM obol.holds") == []
    assert state(license) == (1000, 0, 1)


@both
def test_an_answer_to_a_counted_call_comes_again_uncounted(send, new_license, upstream, state, stream):
    license, key = new_license(), {"Idempotency-Key": "k"}

    first = send(license, with_image(), key, stream=stream)
    assert send(license, with_image(), key, stream=stream).headers["obol-replayed"] == "true"
    assert first.status_code == 200
    assert (upstream.count_calls, upstream.calls) == (1, 1)
    assert state(license) == (960, 0, 2)
