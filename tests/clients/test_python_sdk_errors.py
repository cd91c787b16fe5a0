"""The official Python SDK when there is no answer: the class of the error, what it says, and that a
broken stream is never taken for a whole one."""

import asyncio
import time
from datetime import UTC, datetime
from types import SimpleNamespace

import anthropic
import pytest
from asking import MODEL, TEXT, asked, message_calls

from service.repository import licenses


@pytest.fixture
def slept(monkeypatch):
    """The pauses that the SDK makes before its retries, without making them."""
    pauses = []
    monkeypatch.setattr("anthropic._base_client.time", SimpleNamespace(**vars(time) | {"sleep": pauses.append}))
    return pauses


def raised_by(client, error_class, **request):
    """The error that `messages.create` ends with, whole and streamed alike: it comes before the stream."""
    with pytest.raises(error_class) as streamed, client.messages.stream(**request) as stream:
        stream.until_done()
    with pytest.raises(error_class) as whole:
        client.messages.create(**request)
    assert type(whole.value) is type(streamed.value) is error_class
    assert whole.value.status_code == streamed.value.status_code
    assert whole.value.request_id != streamed.value.request_id
    return whole.value


def test_too_few_credits_are_a_payment_required_error_and_no_retry_helps(
    make_client, new_license, books, requests, upstream, slept
):
    poor = new_license(credits=20)
    error = raised_by(make_client(api_key=poor.raw_key, max_retries=2), anthropic.PaymentRequiredError, **asked())

    assert (error.status_code, error.type, error.error_code) == (402, "billing_error", "insufficient_credits")
    assert error.api_message == error.body["error"]["message"]
    assert "20 are available" in error.api_message
    assert error.request_id == error.body["request_id"]
    details = error.body["error"]["details"]
    assert details["available"] == error.details.available == 20
    assert details["required"] == error.details.required > 20
    assert (len(requests), slept) == (2, [])
    assert message_calls(upstream) == 0
    assert books(poor) == (20, 0, [])


def test_keys_that_are_no_good_are_permission_denied_or_authentication_errors(
    make_client, owner, new_license, requests, slept
):
    suspended, expired = new_license(), new_license(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    licenses.set_status(owner, suspended.id, "suspended")
    keys = {
        "license_inactive": suspended.raw_key,
        "license_expired": expired.raw_key,
        "license_invalid": suspended.raw_key[:-1] + ("A" if suspended.raw_key[-1] != "A" else "B"),
    }
    for code, key in keys.items():
        client = make_client(api_key=key, max_retries=2)
        error_class, told = anthropic.PermissionDeniedError, (403, "permission_error")
        if code == "license_invalid":
            error_class, told = anthropic.AuthenticationError, (401, "authentication_error")
        error = raised_by(client, error_class, **asked())
        assert (error.status_code, error.type, error.error_code) == (*told, code)
        assert key not in str(error)
        with pytest.raises(error_class):
            client.models.retrieve(MODEL)
        with pytest.raises(error_class):
            client.messages.count_tokens(model=MODEL, messages=asked()["messages"])
    assert (len(requests), slept) == (4 * len(keys), [])


def test_without_a_key_it_is_an_authentication_error(client):
    keyless = asked(extra_headers={"Authorization": anthropic.Omit()})
    error = raised_by(client, anthropic.AuthenticationError, **keyless)

    assert (error.status_code, error.type, error.error_code) == (401, "authentication_error", "credentials_missing")
    assert error.response.headers["www-authenticate"] == "Bearer"


def test_a_model_that_there_is_not_is_a_not_found_error_in_the_upstream_s_words(client):
    with pytest.raises(anthropic.NotFoundError) as raised:
        client.models.retrieve("claude-none")

    assert (raised.value.type, raised.value.api_message) == ("not_found_error", "model: claude-none")
    assert raised.value.request_id.startswith("req_")


def test_a_cost_that_nobody_can_bound_is_an_unprocessable_entity_error(client, upstream):
    search = asked(tools=[{"type": "web_search_20250305", "name": "web_search"}])
    error = raised_by(client, anthropic.UnprocessableEntityError, **search)

    assert (error.status_code, error.type, error.error_code) == (422, "invalid_request_error", "cost_unbounded")
    assert error.body["error"]["details"]["errors"][0]["field"] == "tools.0.type"
    assert upstream.received == []


def test_a_request_that_lacks_something_is_a_bad_request_error_that_names_it(client):
    error = raised_by(client, anthropic.BadRequestError, **asked(extra_body={"max_tokens": "many"}))

    assert (error.type, error.error_code) == ("invalid_request_error", "validation_failed")
    assert [item["field"] for item in error.body["error"]["details"]["errors"]] == ["max_tokens"]


@pytest.mark.parametrize(
    ("status", "error_class", "type"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (413, anthropic.ContentTooLargeError, "request_too_large"),
        (500, anthropic.InternalServerError, "api_error"),
        (503, anthropic.ServiceUnavailableError, "api_error"),
        (504, anthropic.GatewayTimeoutError, "timeout_error"),
        (529, anthropic.OverloadedError, "overloaded_error"),
    ],
)
def test_the_upstream_s_errors_keep_their_class_and_words(client, license, books, status, error_class, type):
    error = raised_by(client, error_class, **asked(f"status={status}"))

    assert (error.status_code, error.type) == (status, type)
    assert error.api_message == "The prompt asked for this error."
    # The id is Obol's, which has it in its log; the upstream's own stands in the body.
    assert not error.request_id.startswith("req_sandbox")
    assert error.body["request_id"].startswith("req_sandbox")
    assert error.response.headers.get("retry-after") == ("7" if status in (503, 529) else None)
    assert books(license) == (100_000, 0, [])


def test_that_obol_may_ask_no_more_for_now_is_a_rate_limit_error_in_its_own_words(client, license, books):
    error = raised_by(client, anthropic.RateLimitError, **asked("status=429"))

    assert (error.status_code, error.type, error.error_code) == (429, "rate_limit_error", "upstream_error")
    assert "no more requests from this service" in error.api_message
    assert "The prompt asked" not in str(error)
    assert error.response.headers["retry-after"] == "7"
    assert books(license) == (100_000, 0, [])


@pytest.mark.parametrize("status", [401, 402, 403])
def test_what_the_upstream_has_against_obol_s_own_account_is_not_told(client, status):
    error = raised_by(client, anthropic.InternalServerError, **asked(f"status={status}"))

    assert (error.status_code, error.type, error.error_code) == (502, "api_error", "upstream_error")
    assert "The prompt asked" not in str(error)


@pytest.mark.parametrize("status", [429, 529])
def test_the_sdk_asks_again_when_the_upstream_says_so_and_it_costs_nothing(
    make_client, license, books, upstream, slept, status
):
    with pytest.raises(anthropic.APIStatusError) as raised:
        make_client(max_retries=2).messages.create(**asked(f"status={status}"))

    assert raised.value.status_code == status
    assert (message_calls(upstream), slept) == (3, [7.0, 7.0])
    assert books(license) == (100_000, 0, [])


def test_a_lost_connection_to_the_upstream_is_worth_another_try(make_client, license, books, upstream, slept):
    with pytest.raises(anthropic.InternalServerError) as raised:
        make_client(max_retries=1).messages.create(**asked("close"))

    assert (raised.value.status_code, raised.value.error_code) == (502, "upstream_error")
    assert (message_calls(upstream), slept) == (2, [1.0])
    assert books(license) == (100_000, 0, [])


# A stream of this prompt has 16 events: the start, a block's start, a ping, ten words, the block's
# end, message_delta and message_stop.
BROKEN = [
    *[(f"{how}={after}", "api_error") for how in ("cut_after", "end_after") for after in (1, 5, 13, 14, 15)],
    *[(f"error_after={after}", "overloaded_error") for after in (1, 5, 15)],
    ("garbage", "api_error"),
]


@pytest.mark.parametrize(("directive", "type"), BROKEN)
def test_a_broken_stream_is_an_error_and_never_a_message(client, license, books, directive, type):
    events = []
    with pytest.raises(anthropic.APIStatusError) as raised, client.messages.stream(**asked(directive)) as stream:
        events.extend(event.type for event in stream)
    assert raised.value.type == type
    assert raised.value.request_id == stream.request_id
    if type == "api_error":
        assert raised.value.error_code == "upstream_error"
        assert raised.value.api_message.endswith("Nothing was charged.")
    else:
        assert raised.value.api_message == "The prompt asked for this error."
    # Neither of these came, so that no client can take what it has for the whole answer.
    assert not {"message_delta", "message_stop"} & set(events)
    assert books(license) == (100_000, 0, [])


def test_a_broken_stream_of_raw_events_is_an_error_too(client):
    with pytest.raises(anthropic.APIStatusError, match=r"broke off"):
        list(client.messages.create(**asked("end_after=15"), stream=True))


def test_a_whole_answer_that_broke_off_is_no_answer(client, license, books):
    with pytest.raises(anthropic.InternalServerError) as raised:
        client.messages.create(**asked("cut_after=100"))

    assert (raised.value.status_code, raised.value.error_code) == (502, "upstream_error")
    assert books(license) == (100_000, 0, [])


def test_the_async_client_raises_the_same_errors(served, license, new_license, books):
    async def ask(key, directives):
        options = {"base_url": served.url, "api_key": key, "max_retries": 0}
        async with (
            anthropic.AsyncAnthropic(**options) as client,
            client.messages.stream(**asked(directives)) as stream,
        ):
            return await stream.get_final_message()

    with pytest.raises(anthropic.PaymentRequiredError):
        asyncio.run(ask(new_license(credits=20).raw_key, ""))
    with pytest.raises(anthropic.AuthenticationError):
        asyncio.run(ask("obol_nonsense", ""))
    with pytest.raises(anthropic.RateLimitError):
        asyncio.run(ask(license.raw_key, "status=429"))
    with pytest.raises(anthropic.APIStatusError, match=r"broke off"):
        asyncio.run(ask(license.raw_key, "end_after=15"))
    with pytest.raises(anthropic.APIStatusError, match=r"overloaded_error"):
        asyncio.run(ask(license.raw_key, "error_after=5"))
    assert books(license) == (100_000, 0, [])
    assert asyncio.run(ask(license.raw_key, "")).content[0].text == TEXT
