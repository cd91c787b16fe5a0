"""POST /api/v1/generate: what an answer costs, and that nothing is charged when there is none."""

from uuid import UUID

import pytest
from calls import PAST, message

from service.repository import licenses

PATH = "/api/v1/generate"


def test_an_answer_is_charged_at_its_usage(ask, config, new_license, state, upstream):
    license = new_license(credits=1000)

    response = ask(license, "Hello [sandbox input_tokens=30]", system="Be short.")

    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert int(response.headers["content-length"]) == len(response.data)
    answer = response.get_json()
    assert UUID(answer["id"])
    assert answer["model"] == f"sandbox/{config.default_model}"
    assert answer["text"].startswith("This answer comes from the sandbox")
    assert answer["stop_reason"] == "end_turn"
    assert (answer["usage"]["input_tokens"], answer["usage"]["output_tokens"]) == (30, 10)
    assert answer["credits"] == {"charged": 40, "balance": 960}
    assert response.headers["obol-max-tokens"] == "512"
    assert response.headers["obol-credits-charged"] == "40"
    assert response.headers["obol-credits-balance"] == "960"
    assert state(license) == (960, 0, 2)
    assert upstream.calls == 1


def test_the_hold_bounds_what_can_be_charged(ask, new_license, sql):
    response = ask(new_license(credits=1000), "é" * 10, system="abc", max_tokens=100)

    # 20 bytes and 3, 32 for the framing, and all of max_tokens.
    assert response.headers["obol-credits-held"] == "155"
    assert sql("SELECT amount, state FROM obol.holds") == [(155, "settled")]


def test_a_text_that_is_longer_in_normal_form_is_held_at_that(ask, new_license):
    response = ask(new_license(credits=1000), "\ufdfa" * 10, system="\u33c2", max_tokens=100)
    assert response.headers["obol-credits-held"] == str(33 * 10 + 4 + 32 + 100)


def test_the_model_and_its_limits_are_passed_on(make_client, ask, new_license):
    client = make_client(OBOL_DEFAULT_MODEL="house-model", OBOL_DEFAULT_MAX_TOKENS="3")
    license = new_license()

    assert ask(license, client=client).get_json()["model"] == "sandbox/house-model"
    answer = ask(license, client=client).get_json()
    assert (answer["stop_reason"], answer["usage"]["output_tokens"]) == ("max_tokens", 3)
    assert ask(license, model="other", max_tokens=2, client=client).get_json()["model"] == "sandbox/other"


def test_max_tokens_is_lowered_to_what_the_balance_affords(ask, new_license, state):
    license = new_license(credits=400)
    prompt = "[sandbox output_tokens=1000]"

    response = ask(license, prompt, max_tokens=1000)

    affordable = 400 - len(prompt) - 32
    assert response.headers["obol-max-tokens"] == str(affordable)
    assert response.headers["obol-credits-held"] == "400"
    assert response.get_json()["usage"]["output_tokens"] == affordable
    assert state(license)[1] == 0


def test_too_little_for_an_answer_worth_having(ask, new_license, problem, state, upstream):
    license = new_license(credits=292)

    document = problem(ask(license, "Hello", max_tokens=1000), "insufficient_credits")

    assert (document["required"], document["available"]) == (5 + 32 + 256, 292)
    # What was needed, and what the answer could have cost.
    assert document["max_cost"] == 5 + 32 + 1000
    assert document["detail"] == (
        "293 credits are needed for the hold of this call and 292 are available. It is for 37 tokens of prompt and 256 "
        "of answer; with all of max_tokens it could have cost 1037 at most. Only what is used is charged. Have credits "
        "granted, or ask for less."
    )
    assert upstream.calls == 0
    assert state(license) == (292, 0, 1)


def test_a_small_max_tokens_is_not_lowered(ask, new_license, problem, upstream):
    license = new_license(credits=46)

    assert problem(ask(license, "Hello", max_tokens=10), "insufficient_credits")["required"] == 47
    assert ask(license, "Hello", max_tokens=9).status_code == 200
    assert upstream.calls == 1


def test_a_free_model_needs_no_credits(ask, new_license, sql, state):
    sql("UPDATE obol.prices SET input = 0, output = 0, cache_read = 0")
    license = new_license(credits=0)

    response = ask(license)

    assert response.get_json()["credits"] == {"charged": 0, "balance": 0}
    assert response.headers["obol-max-tokens"] == "512"
    # The opening grant of nothing made no entry; the charge of nothing did.
    assert state(license) == (0, 0, 1)


def test_a_model_without_a_price_is_refused_before_the_call(ask, new_license, problem, sql, state, upstream):
    sql("DELETE FROM obol.prices")
    license = new_license()

    assert "unheard-of" in problem(ask(license, model="unheard-of"), "model_not_priced")["detail"]
    assert upstream.calls == 0
    assert state(license) == (1000, 0, 1)


def test_text_blocks_are_joined_and_others_left_out(make_client, ask, new_license, upstream_saying):
    blocks = [{"type": "text", "text": "a"}, {"type": "thinking", "thinking": "?"}, {"type": "text", "text": "b"}]
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, message(content=blocks)))

    assert ask(new_license(), client=client).get_json()["text"] == "ab"


def test_every_class_of_tokens_is_charged_at_its_price(make_client, ask, new_license, sql, upstream_saying):
    usage = {
        "input_tokens": 1,
        "output_tokens": 2,
        "cache_creation_input_tokens": 12,
        "cache_creation": {"ephemeral_5m_input_tokens": 4, "ephemeral_1h_input_tokens": 8},
        "cache_read_input_tokens": 16,
    }
    prices = {"input": 1, "output": 10, "cache_write_5m": 100, "cache_write_1h": 1000, "cache_read": 10000}
    columns = ", ".join(f"{name} = {credits * 1_000_000}" for name, credits in prices.items())
    sql(f"UPDATE obol.prices SET {columns}")
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, message(usage=usage)))

    answer = ask(new_license(credits=1_000_000), client=client).get_json()
    assert answer["credits"]["charged"] == 1 + 20 + 400 + 8000 + 160_000
    assert answer["usage"] == usage


def test_usage_above_the_hold_comes_out_of_what_is_available(ask, new_license, state, logged):
    license = new_license(credits=10_000)

    answer = ask(license, "[sandbox input_tokens=5000]").get_json()

    assert answer["credits"] == {"charged": 5010, "balance": 4990}
    assert state(license) == (4990, 0, 2)
    assert not [line for line in logged if line["event"] == "shortfall"]


def test_usage_above_all_that_is_available_is_a_visible_shortfall(ask, new_license, sql, state, logged):
    license = new_license(credits=1000)

    answer = ask(license, "[sandbox input_tokens=5000]").get_json()

    assert answer["credits"] == {"charged": 1000, "balance": 0}
    assert sql("SELECT amount, shortfall FROM obol.ledger_entries WHERE kind = 'charge'") == [(-1000, 4010)]
    assert [line["credits"] for line in logged if line["event"] == "shortfall"] == [4010]


def test_credits_that_others_hold_do_not_pay_for_usage_above_the_hold(client, ask, new_license, state):
    license = new_license(credits=2000)
    client.post("/api/v1/holds", json={"amount": 800}, headers=license.headers)

    assert ask(license, "[sandbox input_tokens=5000]").get_json()["credits"]["charged"] == 1200
    assert state(license)[:2] == (800, 800)


WRONG_SHAPES = [
    ({}, "validation_failed", "prompt"),
    ({"prompt": None}, "validation_failed", "prompt"),
    ({"prompt": ""}, "validation_failed", "prompt"),
    ({"prompt": ["a"]}, "validation_failed", "prompt"),
    ({"prompt": "a\0b"}, "validation_failed", "prompt"),
    ({"prompt": "\ud83d"}, "validation_failed", "prompt"),
    ({"prompt": "a", "model": ""}, "validation_failed", "model"),
    ({"prompt": "a", "model": "m" * 201}, "validation_failed", "model"),
    ({"prompt": "a", "model": None}, "validation_failed", "model"),
    ({"prompt": "a", "model": "a\0"}, "validation_failed", "model"),
    ({"prompt": "a", "system": ""}, "validation_failed", "system"),
    ({"prompt": "a", "system": 1}, "validation_failed", "system"),
    ({"prompt": "a", "max_tokens": 0}, "validation_failed", "max_tokens"),
    ({"prompt": "a", "max_tokens": 1_000_001}, "validation_failed", "max_tokens"),
    ({"prompt": "a", "max_tokens": "5"}, "validation_failed", "max_tokens"),
    ({"prompt": "a", "max_tokens": True}, "validation_failed", "max_tokens"),
    ({"prompt": "a", "max_tokens": None}, "validation_failed", "max_tokens"),
    ({"prompt": "a", "stream": "yes"}, "validation_failed", "stream"),
    ({"prompt": "a", "stream": 1}, "validation_failed", "stream"),
    ({"prompt": "a", "stream": None}, "validation_failed", "stream"),
    ({"prompt": "a", "temperature": 1}, "validation_failed", "temperature"),
    (["a"], "malformed_request", "body"),
]


def test_a_request_of_the_wrong_shape(client, new_license, problem, upstream):
    license = new_license()
    for body, code, field in WRONG_SHAPES:
        document = problem(client.post(PATH, json=body, headers=license.headers), code)
        assert [error["field"] for error in document["errors"]] == [field], body
    assert upstream.calls == 0


def test_a_null_system_is_none(ask, new_license):
    assert ask(new_license(), system=None).status_code == 200


@pytest.mark.parametrize(("suspended", "code"), [(True, "license_inactive"), (False, "license_expired")])
def test_a_license_that_is_not_good_gets_no_answer(ask, owner, new_license, problem, sql, upstream, suspended, code):
    license = new_license(credits=0, expires_at=PAST)
    sql("DELETE FROM obol.prices")
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    problem(ask(license), code)
    assert upstream.calls == 0
