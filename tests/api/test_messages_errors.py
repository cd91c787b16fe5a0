"""Errors on /v1: in the shape that clients of the Messages API read, and the upstream's in its words."""

import json

import pytest
from calls import PAST, both, requests_in

from service import keys, operator
from service.http.services import services_of
from service.repository import licenses

ERROR = b'{ "type":"error", "error": {"type": "future_error", "message": "Words."}, "request_id": "req_theirs" }'
TELL = {"retry-after": "7", "retry-after-ms": "6500", "x-should-retry": "true"}
STAY = {
    "set-cookie": "a=b",
    "anthropic-organization-id": "ours",
    "anthropic-ratelimit-requests-remaining": "49",
    "server": "theirs",
    "www-authenticate": "theirs",
}


def names(response):
    return {name.lower() for name, _ in response.headers}


@both
@pytest.mark.parametrize("status", [400, 404, 408, 409, 413, 422, 500, 502, 503, 504, 529])
def test_an_error_of_the_upstream_crosses_as_it_is(
    make_client, send, new_license, state, sql, upstream_saying, status, stream
):
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(status, ERROR, **TELL, **STAY)), new_license()

    response = send(license, client=client, stream=stream)

    assert (response.status_code, response.data) == (status, ERROR)
    assert response.content_type == "application/json"
    ours = {"content-type", "content-length", "request-id", "cache-control", "x-content-type-options"}
    assert names(response) == ours | set(TELL)
    assert {name: response.headers[name] for name in TELL} == TELL
    assert "theirs" not in response.headers["request-id"]
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("status", [400, 413, 500, 503, 529])
def test_an_error_says_nothing_about_retries_that_the_upstream_did_not_say(send, new_license, state, status, stream):
    license = new_license()

    response = send(license, f"[sandbox status={status}]", stream=stream)
    assert response.status_code == status
    assert response.get_json()["error"]["message"] == "The prompt asked for this error."
    assert response.headers.get("retry-after") == {503: "7", 529: "7"}.get(status)
    assert response.headers.get("x-should-retry") == {529: "true"}.get(status)
    assert state(license) == (1000, 0, 1)


@both
def test_too_many_requests_of_ours_are_told_without_our_organization(
    make_client, send, new_license, wire_error, state, logged, upstream_saying, stream
):
    body = ERROR.replace(b"Words", b"Your organization (5a4d) may make 50 requests per minute")
    url = upstream_saying(429, body, **TELL, **STAY, request_id="req_theirs")
    client, license = make_client(ANTHROPIC_BASE_URL=url), new_license()

    response = send(license, client=client, stream=stream)
    details = wire_error(response, "upstream_error", "7", status=429)
    assert details == {"error_code": "upstream_error", "upstream_status": 429}
    assert response.get_json()["error"]["type"] == "rate_limit_error"
    assert b"organization" not in response.data
    assert names(response) == {
        *("content-type", "content-length", "request-id", "cache-control"),
        "x-content-type-options",
        *TELL,
    }
    (line,) = [line for line in logged if line["event"] == "upstream_error"]
    assert (line["request_id"], line["upstream_request_id"]) == (response.headers["request-id"], "req_theirs")
    assert [line["upstream_request_id"] for line in requests_in(logged)] == ["req_theirs"]
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_that_our_credits_are_used_up_is_not_told_as_if_theirs_were(
    make_client, send, new_license, wire_error, state, logged, upstream_saying, path, stream
):
    body = ERROR.replace(b"Words", b"Your credit balance is too low to access the Anthropic API")
    url = upstream_saying(400, body, **STAY, request_id="req_theirs")
    client, license = make_client(ANTHROPIC_BASE_URL=url), new_license()

    response = send(license, client=client, path=path, stream=stream)
    assert wire_error(response, "upstream_error") == {"error_code": "upstream_error", "upstream_status": 400}
    assert "the operator's account" in response.get_json()["error"]["message"]
    assert b"balance" not in response.data
    (line,) = [line for line in logged if line["event"] == "upstream_refuses_us"]
    told = [line[name] for name in ("log_level", "status", "request_id", "upstream_request_id")]
    assert told == ["error", 400, response.headers["request-id"], "req_theirs"]
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_is_about_our_account_with_the_upstream_stays_here(
    make_client, send, new_license, wire_error, state, upstream_saying, status, stream
):
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(status, ERROR, **STAY)), new_license()

    response = send(license, client=client, stream=stream)
    assert wire_error(response, "upstream_error") == {"error_code": "upstream_error", "upstream_status": status}
    assert response.get_json()["error"]["type"] == "api_error"
    assert b"Words" not in response.data
    assert b"future_error" not in response.data
    assert "theirs" not in str(response.headers)
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("body", [b"<html>busy</html>", b"", b"null", b'{"error": "busy"}'])
def test_an_error_that_is_none_of_this_wire_keeps_its_status_and_gets_a_body(
    make_client, send, new_license, wire_error, state, upstream_saying, body, stream
):
    url = upstream_saying(503, body, content_type="text/html", retry_after="7")
    client, license = make_client(ANTHROPIC_BASE_URL=url), new_license()

    response = send(license, client=client, stream=stream)
    details = wire_error(response, "upstream_error", "7", status=503)
    assert details == {"error_code": "upstream_error", "upstream_status": 503}
    assert b"busy" not in response.data
    assert state(license) == (1000, 0, 1)


@both
@pytest.mark.parametrize("directive", ["close", "garbage", "no_usage", "cut_after=0"])
def test_an_answer_that_did_not_come_is_worth_another_try(send, new_license, wire_error, state, sql, directive, stream):
    license = new_license()

    response = send(license, f"[sandbox {directive}]", stream=stream)
    if stream and directive != "close":
        # The stream has begun by then: see test_messages_streams.py.
        assert (response.status_code, b"event: error\n" in response.data) == (200, True)
    else:
        assert wire_error(response, "upstream_error", "1") == {"error_code": "upstream_error"}
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


@both
def test_an_upstream_that_says_nothing(make_client, send, new_license, wire_error, state, stream):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()

    wire_error(send(license, "[sandbox delay_ms=3000]", client=client, stream=stream), "upstream_timeout", "1")
    assert state(license) == (1000, 0, 1)


def test_no_key_and_a_bad_key(send, new_license, wire_error, upstream):
    license = new_license()

    response = send(None)
    wire_error(response, "credentials_missing")
    assert response.get_json()["error"]["type"] == "authentication_error"
    assert response.headers["www-authenticate"] == "Bearer"
    for bad in (keys.make(license.id).license_key, "sk-ant-api03-x"):
        response = send(None, headers={"x-api-key": bad})
        wire_error(response, "license_invalid")
        assert response.get_json()["error"]["type"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"
    assert upstream.received == []


@both
@pytest.mark.parametrize(("suspended", "code"), [(True, "license_inactive"), (False, "license_expired")])
def test_a_license_that_is_not_good(owner, send, new_license, wire_error, state, upstream, suspended, code, stream):
    license = new_license(expires_at=None if suspended else PAST)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    image = [{"type": "image", "source": {"type": "base64", "data": "AA"}}]
    for prompt in ("Hello", image):
        response = send(license, prompt, stream=stream)
        wire_error(response, code)
        assert response.get_json()["error"]["type"] == "permission_error"
    assert upstream.received == []
    assert state(license) == (1000, 0, 1)


@both
def test_not_enough_credits(send, new_license, wire_error, state, upstream, stream):
    license = new_license(credits=50)

    response = send(license, stream=stream)
    details = wire_error(response, "insufficient_credits")
    raw_length = len(json.dumps({"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}))
    required = raw_length + len(f', "stream": {json.dumps(stream)}') + 32 + 100
    figures = {"available": 50, "required": required, "max_cost": required}
    assert details == {"error_code": "insufficient_credits", **figures}
    assert response.get_json()["error"]["type"] == "billing_error"
    assert upstream.received == []
    assert state(license) == (50, 0, 1)


def test_a_model_without_a_price(send, new_license, wire_error, sql, upstream):
    sql("DELETE FROM obol.prices")
    image = [{"type": "image", "source": {"type": "base64", "data": "AA"}}]

    for prompt in ("Hello", image):
        response = send(new_license(), prompt, model="unheard-of")
        assert wire_error(response, "model_not_priced") == {"error_code": "model_not_priced"}
        assert response.get_json()["error"]["type"] == "not_found_error"
        assert "unheard-of" in response.get_json()["error"]["message"]
    assert upstream.received == []


def test_a_fallback_without_a_price_is_the_one_that_is_named(send, new_license, wire_error, priced, sql, upstream):
    sql("DELETE FROM obol.prices")
    priced("m")

    response = send(new_license(), fallbacks=[{"model": "unheard-of"}])
    wire_error(response, "model_not_priced")
    assert "unheard-of" in response.get_json()["error"]["message"]
    assert upstream.received == []


def test_what_nobody_thought_of_is_opaque(send, new_license, wire_error, state, logged, monkeypatch):
    def explode(*args):
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr("service.gateway.message.Message.from_body", explode)
    license = new_license()
    response = send(license)

    assert wire_error(response, "internal_error") == {"error_code": "internal_error"}
    assert b"secret" not in response.data
    assert [line["error"] for line in logged if line["event"] == "internal_error"] == ["RuntimeError"]
    assert "secret" not in json.dumps(logged)
    assert state(license) == (1000, 0, 1)


def test_a_busy_database_is_worth_another_try(send, new_license, wire_error, state, upstream, sql, lock):
    license = new_license()
    sql("ALTER FUNCTION obol.open_hold SET lock_timeout = '100ms'")
    locked = lock()

    wire_error(send(license), "database_error", "1")
    locked.close()
    assert upstream.received == []
    assert state(license) == (1000, 0, 1)


def test_an_answer_that_cannot_be_paid_for_is_withheld(app, send, new_license, wire_error, state, sql):
    license = new_license()
    sql("ALTER TABLE obol.ledger_entries ADD CONSTRAINT no_charges CHECK (kind <> 'charge')")

    response = send(license)
    # To ask again cannot help here.
    wire_error(response, "database_error")
    assert b"comes from the sandbox" not in response.data
    services_of(app).lease.beat()
    assert state(license) == (1000, 0, 1)


def test_credits_that_are_granted_end_the_refusal(send, owner, new_license):
    license = new_license(credits=0)
    assert send(license).status_code == 402

    operator.grant_credits(owner, license.id, 500)
    assert send(license).status_code == 200
