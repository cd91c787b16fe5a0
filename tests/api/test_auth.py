"""Who may ask: the two headers, keys that are none, and that no blueprint forgets to say."""

import string

import flask
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import keys
from service.api.requests import SECURITY, Blueprint, license_auth, no_auth

LICENSE = "/api/v1/license"
# Made by flask-smorest; it serves /openapi.json and nothing else.
DOCUMENTATION = "api-docs"


def without_auth(app):
    """Names of blueprints that do not say, in a way that is enforced, who may use them."""
    return [
        name
        for name, blueprint in app.blueprints.items()
        if name != DOCUMENTATION
        and not (
            getattr(blueprint, "auth", None) in SECURITY and blueprint.auth in app.before_request_funcs.get(name, [])
        )
    ]


def test_every_blueprint_declares_who_may_use_it(app):
    assert without_auth(app) == []
    assert [str(rule) for rule in app.url_map.iter_rules() if rule.endpoint.startswith(f"{DOCUMENTATION}.")] == [
        "/openapi.json"
    ]


def test_a_blueprint_that_forgets_is_found(app):
    app.register_blueprint(flask.Blueprint("careless", __name__))
    declared_only = flask.Blueprint("declared_only", __name__)
    declared_only.auth = license_auth
    app.register_blueprint(declared_only)

    assert without_auth(app) == ["careless", "declared_only"]
    with pytest.raises(TypeError):
        Blueprint("forgetful")


def test_every_route_belongs_to_a_blueprint(app):
    assert [rule.endpoint for rule in app.url_map.iter_rules() if "." not in rule.endpoint] == []


def test_only_health_is_open(app):
    assert [name for name, blueprint in app.blueprints.items() if getattr(blueprint, "auth", None) is no_auth] == [
        "health"
    ]


def test_every_api_route_needs_a_key_before_anything_else(app, client, problem):
    asked = 0
    for rule in app.url_map.iter_rules():
        if not str(rule).startswith("/api"):
            continue
        path = str(rule).replace("<uuid:hold_id>", "00000000-0000-0000-0000-000000000000")
        for method in rule.methods - {"HEAD"}:
            response = client.open(path, method=method, data=b"{not JSON", content_type="text/plain")
            problem(response, "credentials_missing")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            asked += 1
    assert asked >= 7


def test_every_route_of_the_wire_needs_a_key_before_anything_else(app, client, wire_error, upstream):
    asked = 0
    for rule in app.url_map.iter_rules():
        if not str(rule).startswith("/v1"):
            continue
        for method in rule.methods - {"HEAD"}:
            path = str(rule).replace("<model_id>", "claude-haiku-5-5")
            response = client.open(path, method=method, data=b"{not JSON", content_type="text/plain")
            wire_error(response, "credentials_missing")
            assert response.headers["WWW-Authenticate"] == "Bearer"
            asked += 1
    assert asked >= 8
    assert upstream.received == []


NO_KEY = [
    {},
    {"Authorization": ""},
    {"Authorization": "Bearer"},
    {"Authorization": "Bearer  "},
    {"Authorization": "Basic b2JvbDo="},
    {"x-api-key": ""},
    {"x-api-key": " "},
]


def test_no_key(client, problem):
    for headers in NO_KEY:
        document = problem(client.get(LICENSE, headers=headers), "credentials_missing")
        assert "Authorization: Bearer KEY" in document["detail"]


def test_a_key_in_either_header(client, new_license):
    license = new_license()
    key = license.raw_key
    for headers in (
        {"Authorization": f"Bearer {key}"},
        {"Authorization": f"bearer   {key} "},
        {"x-api-key": key},
        {"x-api-key": f" {key} ", "Authorization": "Basic b2JvbDo="},
        {"x-api-key": key, "Authorization": "Bearer "},
        {"x-api-key": "something else", "Authorization": f"Bearer {key}"},
    ):
        response = client.get(LICENSE, headers=headers)
        assert (response.status_code, response.get_json().get("license_id")) == (200, str(license.id)), headers


def test_nothing_tells_one_bad_key_from_another(client, new_license, problem):
    license = new_license()
    stranger, other_key_of_mine = keys.make(new_license().id), keys.make(license.id)
    unknown = keys.make(type(license.id)(int=5))
    mistyped = license.raw_key[:-1] + ("0" if license.raw_key[-1] != "0" else "1")

    details = set()
    for bad in (stranger, other_key_of_mine, unknown, mistyped, license.raw_key.upper(), "obol_", "x"):
        document = problem(client.get(LICENSE, headers={"x-api-key": bad}), "license_invalid")
        details.add((document["title"], document["detail"], frozenset(document)))
    assert len(details) == 1


def test_a_bad_key_is_refused_everywhere(client, new_license, problem):
    hold = "/api/v1/holds/00000000-0000-0000-0000-000000000000"
    for bad in (keys.make(new_license().id), "obol_bad"):
        for path, body in (
            ("/api/v1/deductions", {"amount": 1}),
            ("/api/v1/holds", {"amount": 1}),
            (f"{hold}/settle", {"amount": 1}),
            (f"{hold}/release", None),
            ("/api/v1/generate", {"prompt": "a"}),
        ):
            problem(client.post(path, json=body, headers={"x-api-key": bad}), "license_invalid")


def test_a_bad_key_is_refused_everywhere_on_the_wire(client, new_license, wire_error, upstream):
    message = {"model": "m", "max_tokens": 1, "messages": []}
    for bad in (keys.make(new_license().id), "obol_bad"):
        for method, path, body in (
            ("POST", "/v1/messages", message),
            ("POST", "/v1/messages", message | {"stream": True}),
            ("POST", "/v1/messages/count_tokens", message),
            ("GET", "/v1/models", None),
            ("GET", "/v1/models/claude-haiku-5-5", None),
        ):
            response = client.open(path, method=method, json=body, headers={"x-api-key": bad})
            wire_error(response, "license_invalid")
    assert upstream.received == []


@settings(max_examples=50, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.text(st.characters(max_codepoint=255, blacklist_characters="\r\n"), max_size=90)
    | st.from_regex(r"\Aobol_[0-9a-f]{32}_[0-9A-Za-z]{38}\Z")
    | st.text(string.printable.replace("\r", "").replace("\n", ""), max_size=90),
    header=st.sampled_from(["x-api-key", "Authorization"]),
)
def test_any_key_is_refused(client, key, header):
    value = f"Bearer {key}" if header == "Authorization" else key
    assert client.get(LICENSE, headers={header: value}).status_code in (401, 403)
