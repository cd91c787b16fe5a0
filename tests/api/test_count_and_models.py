"""/v1/messages/count_tokens and /v1/models: free, for licenses that may be used, and the upstream's bytes."""

import json

import pytest
from calls import PAST

from service.repository import licenses

COUNT, MODELS = "/v1/messages/count_tokens", "/v1/models"
RAW = b'{ "model": "m", "messages": [{"role":"user","content":"[sandbox input_tokens=77]"}], "future": 1.50 }'


def ask(client, license, path, headers=None, raw=RAW):
    method = "POST" if path.startswith(COUNT) else "GET"
    headers = {**(license.headers if license else {}), **(headers or {})}
    return client.open(
        path, method=method, data=raw if method == "POST" else None, content_type="application/json", headers=headers
    )


def test_a_count_is_the_upstream_s_and_free(client, new_license, upstream_s_own, state, upstream):
    license = new_license(credits=0)

    response = ask(client, license, COUNT)

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.data == upstream_s_own(RAW, COUNT) == b'{"input_tokens": 77}'
    (received,) = upstream.received
    assert received.body == RAW
    assert state(license) == (0, 0, 0)


@pytest.mark.parametrize(
    "query",
    ["", "?limit=1", "?limit=1&after_id=claude-opus-5-5", "?before_id=claude-haiku-5-5&limit=2", "?limit=3",
     "?before_id=claude-haiku-5-5&limit=1", "?after_id=claude-haiku-5-5", "?future=1"],
)  # fmt: skip
def test_models_that_are_all_sold_are_listed_as_the_upstream_does(client, new_license, upstream_s_own, upstream, query):
    response = ask(client, new_license(credits=0), MODELS + query)

    assert (response.status_code, response.content_type) == (200, "application/json")
    assert response.get_json() == json.loads(upstream_s_own(None, MODELS + query))
    assert [(received.method, received.path) for received in upstream.received] == [("GET", f"{MODELS}?limit=1000")]


def test_a_model_is_the_upstream_s(client, new_license, upstream_s_own):
    path = f"{MODELS}/claude-haiku-5-5"
    assert ask(client, new_license(credits=0), path).data == upstream_s_own(None, path)


@pytest.fixture
def sold(sql, priced):
    """Two of the three, and one that the upstream does not have."""
    sql("DELETE FROM obol.prices")
    for pattern in ("claude-opus-*", "claude-haiku-5-5", "claude-none"):
        priced(pattern)


OPUS, HAIKU = "claude-opus-5-5", "claude-haiku-5-5"


@pytest.mark.parametrize(
    ("query", "listed", "has_more"),
    [
        ("", [OPUS, HAIKU], False),
        ("?limit=2", [OPUS, HAIKU], False),
        ("?limit=1", [OPUS], True),
        (f"?after_id={OPUS}", [HAIKU], False),
        # The cursor of somebody who saw it when it was sold.
        ("?after_id=claude-sonnet-5-5&limit=1", [HAIKU], False),
        (f"?after_id={HAIKU}", [], False),
        (f"?before_id={HAIKU}", [OPUS], False),
    ],
)
def test_only_what_is_sold_is_listed(client, new_license, sold, query, listed, has_more):
    page = ask(client, new_license(), MODELS + query).get_json()
    assert [model["id"] for model in page["data"]] == listed
    ends = [listed[0], listed[-1]] if listed else [None, None]
    assert [page["has_more"], page["first_id"], page["last_id"]] == [has_more, *ends]


def test_only_what_is_sold_is_shown(client, new_license, wire_error, sold, upstream):
    license = new_license()
    assert ask(client, license, f"{MODELS}/{OPUS}").get_json()["id"] == OPUS
    response = ask(client, license, f"{MODELS}/claude-sonnet-5-5")
    assert wire_error(response, "not_found") == {"error_code": "not_found"}
    assert len(upstream.received) == 1
    # Of what it does not have the upstream says so itself.
    assert ask(client, license, f"{MODELS}/claude-none").get_json()["error"]["message"] == "model: claude-none"


@pytest.mark.parametrize(
    ("query", "field"),
    [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=a", "limit"), ("after_id=none", "after_id"),
     ("before_id=none", "before_id"), ("after_id=", "after_id")],
)  # fmt: skip
def test_a_page_that_there_is_not(client, new_license, wire_error, query, field):
    details = wire_error(ask(client, new_license(), f"{MODELS}?{query}"), "validation_failed")
    assert [error["field"] for error in details["errors"]] == [field]


@pytest.mark.parametrize(
    ("asked", "crossed"),
    [
        (f"{COUNT}?beta=true&key=canary", f"{COUNT}?beta=true"),
        (f"{MODELS}?limit=2&key=canary&beta=true", f"{MODELS}?limit=1000&beta=true"),
        (f"{MODELS}/claude-haiku-5-5?beta=true", f"{MODELS}/claude-haiku-5-5?beta=true"),
        (f"{MODELS}/a%3Fb%23c%20d", f"{MODELS}/a%3Fb%23c%20d"),
        (f"{MODELS}/..a", f"{MODELS}/..a"),
        (f"{MODELS}/a.", f"{MODELS}/a."),
    ],
)
def test_only_what_the_wire_has_crosses(client, new_license, upstream, asked, crossed):
    license = new_license()
    version = {"anthropic-version": "2099-01-01", "anthropic-beta": "a,b"}
    ask(client, license, asked, {**version, "cookie": "canary", "x-forwarded-for": "canary"})

    (received,) = upstream.received
    assert received.path == crossed
    assert {name: received.headers[name] for name in version} == version
    assert received.headers["authorization"] == "Bearer test-upstream-key"
    assert "canary" not in str(received)
    assert license.raw_key not in str(received)


@pytest.mark.parametrize("path", [COUNT, MODELS, f"{MODELS}/claude-haiku-5-5"])
def test_no_header_of_the_upstream_crosses_back(client, new_license, path):
    headers = ask(client, new_license(), path).headers
    ours = {"content-type", "content-length", "request-id", "cache-control", "x-content-type-options"}
    assert {name.lower() for name, _ in headers} == ours
    assert "sandbox" not in headers["request-id"]


@pytest.mark.parametrize("path", [COUNT, MODELS, f"{MODELS}/claude-haiku-5-5"])
def test_only_licenses_that_may_be_used_ask(client, owner, new_license, wire_error, upstream, path):
    suspended, expired = new_license(), new_license(expires_at=PAST)
    licenses.set_status(owner, suspended.id, "suspended")

    wire_error(ask(client, None, path), "credentials_missing")
    wire_error(ask(client, suspended, path), "license_inactive")
    wire_error(ask(client, expired, path), "license_expired")
    wire_error(ask(client, None, path, {"x-api-key": "nonsense"}), "license_invalid")
    assert upstream.received == []
    assert ask(client, None, path, {"x-api-key": new_license().raw_key}).status_code == 200


def test_an_error_of_the_upstream_crosses_as_it_is(client, new_license, upstream_s_own, state):
    license = new_license()

    response = ask(client, license, f"{MODELS}/none")
    assert (response.status_code, response.get_json()["error"]["type"]) == (404, "not_found_error")
    response = ask(client, license, COUNT, raw=b'{"messages": [{"content": "[sandbox count_status=529]"}]}')
    assert (response.status_code, response.headers["x-should-retry"]) == (529, "true")
    assert response.headers["retry-after"] == "7"
    assert response.get_json()["error"]["message"] == "The prompt asked for this error."
    assert state(license) == (1000, 0, 1)


@pytest.mark.parametrize("step", [".", "..", "%2e", "%2E%2e", ".%2E", "..?beta=true"])
def test_a_step_in_a_path_is_no_model(client, new_license, wire_error, upstream, step):
    license = new_license()

    response = ask(client, license, f"{MODELS}/{step}")
    assert wire_error(response, "not_found") == {"error_code": "not_found"}
    assert response.get_json()["error"]["message"] == "There is no such model."
    # Who may not ask is told no more of it than of any other.
    wire_error(ask(client, None, f"{MODELS}/{step}", {"x-api-key": "nonsense"}), "license_invalid")
    assert upstream.received == []


def test_an_upstream_that_does_not_count(make_client, new_license, wire_error, refusing_url):
    client, license = make_client(OBOL_UPSTREAM_TIMEOUT_S="1"), new_license()
    for directive, code in (("count_close", "upstream_error"), ("count_delay_ms=3000", "upstream_timeout")):
        raw = json.dumps({"messages": [{"content": f"[sandbox {directive}]"}]}).encode()
        wire_error(ask(client, license, COUNT, raw=raw), code, "1")
    nowhere = make_client(ANTHROPIC_BASE_URL=refusing_url)
    wire_error(ask(nowhere, license, MODELS), "upstream_error", "1")


def test_what_is_no_request_to_count(client, new_license, wire_error, upstream):
    license = new_license()
    for raw in (b"", b"[]", b"{", b'{"a": 1, "a": 2}', b'{"a": 1e400}'):
        wire_error(ask(client, license, COUNT, raw=raw), "malformed_request")
    response = client.post(COUNT, data=b"{}", content_type="text/plain", headers=license.headers)
    wire_error(response, "unsupported_media_type")
    assert upstream.received == []
