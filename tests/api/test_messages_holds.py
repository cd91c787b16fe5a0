"""What is set aside for a call to /v1/messages: its bytes, or its count when those are too dear."""

import json

import pytest
from calls import COUNTED, IMAGE, LONG, both, bounds, with_image


def paths(upstream):
    return [received.path for received in upstream.received]


@both
def test_an_answer_names_its_charge(send, new_license, sql, stream):
    response = send(new_license(), stream=stream)
    assert sql("SELECT cause_id::text FROM obol.ledger_entries WHERE kind = 'charge'") == [
        (response.headers["obol-charge-id"],)
    ]


@both
def test_the_bytes_of_a_request_bound_it(send, new_license, sql, upstream, stream):
    response = send(new_license(), "é" * 10, stream=stream)

    raw = upstream.received[0].body
    assert bounds(response) == (len(raw) + 32 + 100, 100)
    assert sql("SELECT amount, state FROM obol.holds") == [(len(raw) + 132, "settled")]
    assert upstream.count_calls == 0


# Three bytes each, and 33 in the normal form that a tokenizer may read; a published one makes 15 tokens of it.
LONGER = "\ufdfa" * 1000


@both
@pytest.mark.parametrize("ensure_ascii", [False, True])
def test_a_text_that_is_longer_in_normal_form_is_held_at_that(send, new_license, upstream, ensure_ascii, stream):
    body = {"model": "m", "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": LONGER}]}
    raw = json.dumps(body, ensure_ascii=ensure_ascii).encode()

    response = send(new_license(credits=100_000), raw=raw)
    as_written = len(raw.replace(b"\\ufdfa", b"").replace("\ufdfa".encode(), b""))
    assert bounds(response) == (as_written + 33 * 1000 + 32 + 100, 100)
    assert upstream.received[0].body == raw


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
        ]}]}, 2 * 16),
    ],
    ids=["tools", "a tool of theirs", "thinking", "output_config", "none", "blocks"],
)  # fmt: skip
def test_what_the_upstream_adds_is_in_the_hold(send, new_license, upstream, more, tokens):
    response = send(new_license(credits=10_000), **more)
    assert bounds(response) == (len(upstream.received[0].body) + 32 + tokens + 100, 100)
    assert upstream.count_calls == 0


@both
def test_bytes_that_are_too_dear_are_counted(send, new_license, state, upstream, stream):
    license = new_license(credits=1000)

    response = send(license, LONG, stream=stream, max_tokens=500)

    assert bounds(response) == (COUNTED + 500, 500)
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

    assert bounds(response) == (1601 + 161 + 32 + 100, 100)
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
    assert bounds(response) == (1601 + 161 + 32 + added + 100, 100)
    assert upstream.count_calls == 1
    assert json.loads(upstream.received[0].body).get("tools") == more.get("tools")


IMAGE_URL = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}


@both
def test_an_image_that_the_upstream_fetches_is_held_at_the_most_that_one_costs(send, new_license, upstream, stream):
    prompt = [{"type": "text", "text": "Hi"}, IMAGE_URL, {"type": "tool_result", "content": [IMAGE_URL]}]

    response = send(new_license(credits=20_000), prompt, stream=stream)
    assert bounds(response) == (len(upstream.received[0].body) + 32 + 2 * 6000 + 100, 100)
    assert json.loads(upstream.received[0].body)["messages"][0]["content"] == prompt
    assert upstream.count_calls == 0


@both
def test_where_the_rest_is_counted_an_image_that_is_fetched_is_none_of_it(send, new_license, upstream, stream):
    text = {"type": "text", "text": "[sandbox input_tokens=1601]"}
    call = {"type": "tool_use", "id": "t", "name": "a", "input": {"a": IMAGE_URL}}
    prompt, system = [text, IMAGE, IMAGE_URL, {"type": "tool_result", "content": [IMAGE_URL]}, call], [text, IMAGE_URL]

    response = send(new_license(credits=50_000), prompt, system=system, stream=stream)
    assert bounds(response) == (1601 + 161 + 32 + 3 * 6000 + 100, 100)
    # count_tokens refuses what it would have to fetch.
    word = {"type": "text", "text": "image"}
    counted, sent = (json.loads(received.body) for received in upstream.received)
    assert counted["messages"] == [
        {"role": "user", "content": [text, IMAGE, word, {"type": "tool_result", "content": [word]}, call]}
    ]
    assert counted["system"] == [text, word]
    assert (sent["messages"][0]["content"], sent["system"]) == (prompt, system)


def test_an_image_that_is_fetched_is_no_cheaper_for_being_left_out_of_a_count(send, new_license, wire_error, upstream):
    license = new_license(credits=6100)
    details = wire_error(send(license, [{"type": "text", "text": "Hi"}, IMAGE_URL]), "insufficient_credits")

    (counted,) = upstream.received
    assert json.loads(counted.body)["messages"][0]["content"][1]["type"] == "text"
    assert details["required"] > 6100
    assert upstream.calls == 0


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


def test_a_hold_covers_what_each_attempt_can_cost(priced, send, new_license, upstream):
    priced("b", input=2, output=3, cache_read=0)
    response = send(new_license(credits=10_000), fallbacks=[{"model": "b"}])

    tokens = len(upstream.received[0].body) + 32
    # The second reads the prompt and what the first has written.
    assert bounds(response) == (tokens + 100 + 2 * tokens + (3 + 2) * 100, 100)


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
