"""POST /api/v1/generate on a bad day of the model: nothing is charged, and the client is told why."""

import pytest
from calls import USAGE, message

PATH = "/api/v1/generate"
# What the sandbox says with these.
RETRY_AFTER = {429: "7", 503: "7", 529: "7"}


@pytest.mark.parametrize("status", [400, 404, 408, 413, 422])
def test_what_the_upstream_says_about_the_request_is_passed_on(ask, new_license, problem, state, status):
    license = new_license()

    document = problem(ask(license, f"[sandbox status={status}]"), "upstream_error", RETRY_AFTER.get(status))
    assert document["upstream_status"] == status
    assert document["detail"].endswith("It said: The prompt asked for this error.")
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500, 503, 529])
def test_what_the_upstream_says_about_us_or_itself_stays_here(ask, new_license, problem, state, status):
    license = new_license()

    response = ask(license, f"[sandbox status={status}]")

    assert problem(response, "upstream_error", RETRY_AFTER.get(status))["upstream_status"] == status
    assert b"The prompt asked for this error" not in response.data
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(
    ("directive", "words", "retry_after"),
    [
        ("garbage", "could not be read", "1"),
        ("no_usage", "could not be read", "1"),
        ("close", "connection to the model failed", "1"),
        ("cut_after=50", "connection to the model failed", "1"),
        ("refusal", "refused to answer", None),
    ],
)
def test_an_upstream_on_a_bad_day_costs_nothing(ask, new_license, problem, sql, state, directive, words, retry_after):
    license = new_license()

    response = ask(license, f"[sandbox {directive}]")
    assert words in problem(response, "upstream_error", retry_after)["detail"]
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


def test_an_upstream_that_is_late_costs_nothing(make_client, ask, new_license, problem, sql, state):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()

    problem(ask(license, "[sandbox delay_ms=3000]", client=client), "upstream_timeout", "1")
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


def test_an_upstream_that_is_not_there_costs_nothing(make_client, ask, new_license, problem, state, refusing_url):
    client, license = make_client(ANTHROPIC_BASE_URL=refusing_url), new_license()

    assert "connection to the model failed" in problem(ask(license, client=client), "upstream_error", "1")["detail"]
    assert state(license) == (1000, 0, 1)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "body",
    [
        message(usage={"input_tokens": -1, "output_tokens": 4}),
        message(usage={"input_tokens": "3", "output_tokens": 4}),
        message(usage={"input_tokens": 3}),
        message(usage={"input_tokens": 3, "output_tokens": True}),
        message(usage={"input_tokens": 3, "output_tokens": 1.5}),
        message(usage={**USAGE, "cache_read_input_tokens": "5"}),
        message(usage=[]),
        message(usage={"input_tokens": 3, "output_tokens": 10**20}),
        message(usage={"input_tokens": 2**62, "output_tokens": 2**62}),
        message(content=None),
        message(content=["text"]),
        message(stop_reason=None),
        message(model=7),
        b"null",
        b"",
        b"[" * 200_000,
        b"\xff\xfe",
    ],
    ids=lambda body: str(body[-60:]),
)
def test_an_answer_that_cannot_be_charged_or_read_is_not_given(
    make_client, ask, new_license, problem, sql, state, upstream_saying, body
):
    client, license = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, body)), new_license()

    problem(ask(license, client=client), "upstream_error", "1")
    assert sql("SELECT state FROM obol.holds") == [("released",)]
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize(
    ("said", "passed_on"),
    [("7", "7"), ("soon", None), ("-1", None), ("²", None), ("9" * 5000, None)],
    ids=lambda value: str(value)[:8],
)
def test_the_upstream_s_retry_after_is_passed_on(
    make_client, ask, new_license, problem, state, upstream_saying, said, passed_on
):
    url = upstream_saying(429, b"busy", retry_after=said)
    client, license = make_client(ANTHROPIC_BASE_URL=url), new_license()

    problem(ask(license, client=client), "upstream_error", retry_after=passed_on)
    assert state(license) == (1000, 0, 1)


def test_an_answer_that_other_clients_could_not_read_is_not_sold(
    make_client, ask, new_license, problem, state, upstream_saying
):
    answer = message(usage={"input_tokens": 1, "output_tokens": 1, "ratio": float("nan")})
    client = make_client(ANTHROPIC_BASE_URL=upstream_saying(200, answer))
    license = new_license()

    problem(ask(license, client=client), "upstream_error", "1")
    assert state(license) == (1000, 0, 1)
