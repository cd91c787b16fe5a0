"""POST /v1/messages and credits: what an answer is charged, and at which price."""

import pytest
from calls import USAGE, both, charged, message, requests_in

EPHEMERAL = {"type": "ephemeral"}
HOUR = {"type": "ephemeral", "ttl": "1h"}


def charges(sql):
    return sql("SELECT amount, shortfall, usage FROM obol.ledger_entries WHERE kind = 'charge'")


def tokens(input, output, written_5m=0, written_1h=0, read=0, **model):
    return {
        **model,
        "input": input,
        "output": output,
        "cache_write_5m": written_5m,
        "cache_write_1h": written_1h,
        "cache_read": read,
    }


@both
def test_an_answer_is_charged_at_its_usage(send, new_license, sql, state, upstream, stream):
    license = new_license()

    response = send(license, "[sandbox input_tokens=30] [sandbox output_tokens=20]", stream=stream)

    assert charged(response) == 50
    assert charges(sql) == [(-50, 0, tokens(30, 20))]
    assert state(license) == (950, 0, 2)
    assert [usage["output_tokens"] for usage in upstream.used] == [20]


@both
def test_every_class_of_tokens_is_charged_at_its_price(priced, send, new_license, sql, state, stream):
    priced("m", input=1, output=10, cache_write_5m=100, cache_write_1h=1000, cache_read=0.5)
    license = new_license(credits=1_000_000)
    directives = "input_tokens=3 output_tokens=2 cache_write_5m=4 cache_write_1h=8 cache_read=5 thinking=6"
    prompt = " ".join(f"[sandbox {directive}]" for directive in directives.split())

    response = send(license, prompt, stream=stream, cache_control=HOUR)

    # 2.5 for what was read is rounded up, once.
    assert charged(response) == 3 + 80 + 400 + 8000 + 3
    assert charges(sql) == [(-8486, 0, tokens(3, 8, 4, 8, 5))]
    assert state(license) == (1_000_000 - 8486, 0, 2)


@both
def test_what_was_written_for_nobody_knows_how_long_is_charged_for_five_minutes(priced, send, new_license, sql, stream):
    priced("m", cache_write_5m=2, cache_write_1h=9)

    response = send(
        new_license(credits=10_000),
        "[sandbox input_tokens=3] [sandbox cache_write_1h=10] [sandbox unsplit]",
        stream=stream,
        cache_control=HOUR,
    )
    assert charged(response) == 3 + 20 + 10
    assert charges(sql)[0][2] == tokens(3, 10, 10)


@pytest.mark.parametrize(
    ("more", "dearest"),
    [
        ({}, 3),
        ({"cache_control": EPHEMERAL}, 5),
        ({"cache_control": HOUR}, 9),
        ({"system": [{"type": "text", "text": "s", "cache_control": EPHEMERAL}]}, 5),
        ({"tools": [{"name": "a", "input_schema": {}, "cache_control": HOUR}]}, 9),
        ({"messages": [{"role": "user", "content": [
            {"type": "tool_result", "content": [{"type": "text", "text": "t", "cache_control": HOUR}]},
        ]}]}, 9),
    ],
    ids=["none", "top", "top, an hour", "system", "tools", "nested"],
)  # fmt: skip
def test_a_prompt_is_held_at_the_dearest_class_that_it_can_be_charged_as(
    priced, send, new_license, upstream, more, dearest
):
    priced("m", input=2, cache_read=3, cache_write_5m=5, cache_write_1h=9)

    response = send(new_license(credits=100_000), **more)
    bound = len(upstream.received[0].body) + 32 + (1024 if "tools" in more else 0)
    assert response.headers["obol-credits-held"] == str(bound * dearest + 100)


@both
def test_a_free_model_needs_no_credits(priced, send, new_license, state, upstream, stream):
    priced("free", input=0, output=0, cache_read=0)
    license = new_license(credits=0)
    image = {"type": "image", "source": {"type": "base64", "data": "AA"}}

    for prompt in ("Hello", [image]):
        response = send(license, prompt, {"obol-max-credits": "0"}, model="free", stream=stream)
        assert charged(response) == 0
        assert (response.headers["obol-credits-held"], response.headers["obol-max-tokens"]) == ("0", "100")
    assert upstream.calls == 2
    # A charge of nothing is one all the same.
    assert state(license) == (0, 0, 2)


FALLBACK = [{"model": "b"}]


@both
@pytest.mark.parametrize(
    ("directives", "usage", "charge"),
    [
        # The sandbox names itself with the model that answered: the request has no such name.
        ("input_tokens=30", {"attempts": [tokens(30, 10, model="b")]}, 400),
        ("input_tokens=30 decline", {"attempts": [tokens(30, 10, model="b")]}, 400),
        (
            "input_tokens=30 decline_after=20",
            {"attempts": [tokens(30, 20, model="m"), tokens(30, 10, model="b")]},
            50 + 400,
        ),
        (
            "input_tokens=30 cache_read=7 decline",
            {"attempts": [tokens(30, 10, read=7, model="b")]},
            470,
        ),
    ],
)
def test_each_attempt_is_charged_at_its_own_model_s_price(
    priced, send, new_license, sql, state, directives, usage, charge, stream
):
    priced("b", **dict.fromkeys(("input", "output", "cache_read"), 10))
    license = new_license(credits=10_000)
    prompt = " ".join(f"[sandbox {directive}]" for directive in directives.split())

    response = send(license, prompt, stream=stream, fallbacks=FALLBACK)
    assert charged(response) == charge
    assert charges(sql) == [(-charge, 0, usage)]
    assert state(license) == (10_000 - charge, 0, 2)


@both
def test_a_fallback_without_any_left_is_a_refusal_and_costs_nothing(send, new_license, state, stream):
    license = new_license()

    response = send(license, "[sandbox decline]", stream=stream)
    assert b'"refusal"' in response.data
    assert charged(response) == 0
    assert "obol-credits-balance" not in response.headers
    assert state(license) == (1000, 0, 1)


@both
def test_a_refusal_before_any_output_is_delivered_and_costs_nothing(send, new_license, state, sql, logged, stream):
    license = new_license()

    response = send(license, "[sandbox refusal] [sandbox input_tokens=300]", stream=stream)
    assert (response.status_code, charged(response)) == (200, 0)
    assert b'"input_tokens": 300' in response.data or b'"input_tokens":300' in response.data
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)
    (line,) = requests_in(logged)
    assert (line["credits"], line["replayed"]) == (0, False)
    assert not [line for line in logged if line["event"] == "operator_loss"]


@both
def test_usage_above_all_that_is_available_is_a_visible_shortfall(send, new_license, sql, state, logged, stream):
    license = new_license(credits=1000)

    response = send(license, "[sandbox input_tokens=5000]", stream=stream)

    assert charged(response) == 1000
    assert [(amount, missing) for amount, missing, _ in charges(sql)] == [(-1000, 4010)]
    assert [line["credits"] for line in logged if line["event"] == "shortfall"] == [4010]
    assert state(license) == (0, 0, 2)


@both
def test_a_count_that_was_too_low_is_made_up_for_by_what_is_available(send, new_license, state, logged, stream):
    license = new_license(credits=10_000)

    response = send(license, "[sandbox input_tokens=5000]", stream=stream)
    assert charged(response) == 5010
    assert state(license) == (4990, 0, 2)
    assert not [line for line in logged if line["event"] == "shortfall"]


def test_a_hold_of_somebody_else_is_not_spent(client, send, new_license, wire_error, state):
    license = new_license(credits=1000)
    client.post("/api/v1/holds", json={"amount": 950}, headers=license.headers)

    assert wire_error(send(license), "insufficient_credits")["available"] == 50
    assert state(license) == (1000, 950, 1)


def test_requests_of_server_tools_that_nobody_asked_for_are_noticed(
    make_client, send, new_license, state, logged, upstream_saying
):
    usage = USAGE | {"server_tool_use": {"web_search_requests": 2}}
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, message(usage=usage)))
    license = new_license()

    assert charged(send(license, client=client)) == 7
    assert [line["requests"] for line in logged if line["event"] == "usage_unpriced"] == [{"web_search_requests": 2}]
    assert state(license) == (993, 0, 2)


def test_a_price_that_has_tiers_is_held_and_charged_in_its_tier(priced, send, new_license, sql, state, upstream):
    priced("m")
    sql(
        "INSERT INTO obol.price_tiers (model_pattern, effective_from, above_input_tokens,"
        " input, output, cache_write_5m, cache_write_1h, cache_read)"
        " SELECT model_pattern, effective_from, 200, 2000000, 3000000, 2000000, 2000000, 2000000"
        " FROM obol.prices WHERE model_pattern = 'm'"
    )
    license = new_license(credits=10_000)

    short = send(license, "[sandbox input_tokens=30]")
    assert int(short.headers["obol-credits-held"]) == len(upstream.received[0].body) + 132
    assert charged(short) == 40
    long = send(license, "[sandbox input_tokens=201]" + "a" * 200)
    assert int(long.headers["obol-credits-held"]) == 2 * (len(upstream.received[1].body) + 32) + 300
    assert charged(long) == 402 + 30
    assert state(license) == (10_000 - 40 - 432, 0, 3)
