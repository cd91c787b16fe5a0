"""Who may ask: the two headers, keys that are none, and that no blueprint forgets to say."""

import re
import string
from uuid import UUID

import flask
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service import keys
from service.http.auth import SECURITY, admin_auth, license_auth, license_key, no_auth
from service.http.blueprint import Blueprint
from service.http.body import json_object
from service.http.services import services
from service.pages.guarded import account_auth, console_auth
from service.repository import licenses

LICENSE = "/api/v1/license"
# Made by flask-smorest; it serves /openapi.json and nothing else.
DOCUMENTATION = "api-docs"


@pytest.fixture
def app(own_app):
    return own_app


def without_auth(app):
    """Names of blueprints that do not say, in a way that is enforced, who may use them."""
    return [
        name
        for name, blueprint in app.blueprints.items()
        if name != DOCUMENTATION
        and not (
            getattr(blueprint, "auth", None) in {*SECURITY, console_auth, account_auth}
            and blueprint.auth in app.before_request_funcs.get(name, [])
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


def test_only_health_the_pages_and_what_stripe_signs_are_open(app):
    is_open = [name for name, blueprint in app.blueprints.items() if getattr(blueprint, "auth", None) is no_auth]
    assert is_open == ["health", "stripe", "pages", "assets"]


# One value for each parameter of a path. A new parameter needs one here.
NO_ID = "00000000-0000-0000-0000-000000000000"
PARAMETERS = {
    "hold_id": NO_ID,
    "license_id": NO_ID,
    "grant_id": NO_ID,
    "key_id": NO_ID,
    "cause_id": NO_ID,
    "token_id": NO_ID,
    "webhook_id": NO_ID,
    "package_id": "starter",
    "model_id": "claude-haiku-5-5",
}

MESSAGE = {"model": "m", "max_tokens": 1, "messages": []}
# Requests that would be answered if the key were a good one: the shape of a request is judged before
# the license is. A route that is not here is asked without a body.
BODIES = {
    "/api/v1/deductions": [{"amount": 1}],
    "/api/v1/holds": [{"amount": 1}],
    "/api/v1/holds/<uuid:hold_id>/settle": [{"amount": 1}],
    "/api/v1/license/keys": [{"name": "CI"}],
    "/api/v1/license/keys/<uuid:key_id>": [{"name": "CI"}],
    "/api/v1/license/checkout": [{"package_id": "starter"}],
    "/api/v1/generate": [{"prompt": "a"}, {"prompt": "a", "stream": True}],
    "/v1/messages": [MESSAGE, MESSAGE | {"stream": True}],
    "/v1/messages/count_tokens": [MESSAGE],
}


def guarded(app, auth=license_auth):
    """(method, rule, path) for everything that only licenses, or only operators, may ask for, HEAD left out: it
    is GET. What says nothing counts as for licenses."""
    asked = []
    for rule in app.url_map.iter_rules():
        found = getattr(app.blueprints[rule.endpoint.rpartition(".")[0]], "auth", None)
        if found is auth or (
            auth is license_auth and found is not admin_auth and str(rule).startswith(("/api", "/v1"))
        ):
            path = re.sub(r"<(?:\w+:)?(\w+)>", lambda match: PARAMETERS[match[1]], str(rule))
            asked += [(method, str(rule), path) for method in sorted(rule.methods - {"HEAD"})]
    return asked


def code_of(response):
    """The code of an error in either of the two shapes; None: it is no error."""
    document = response.get_json(silent=True) or {}
    return document["error"]["details"]["error_code"] if "error" in document else document.get("code")


def taking(app, key):
    """What is not refused for the sake of the key. OPTIONS shows nobody's things, and needs none that is good."""
    client, took = app.test_client(), []
    for method, rule, path in guarded(app):
        for body in BODIES.get(rule, [None]) if method != "OPTIONS" else []:
            response = client.open(path, method=method, json=body, headers={"x-api-key": key}, buffered=True)
            status = 401 if path.startswith("/v1/") else 403
            if (response.status_code, code_of(response)) != (status, "license_invalid"):
                took.append(f"{method} {rule}")
    return took


@pytest.fixture
def stranger(new_license):
    """A key of the right form for a license that there is, and whose key it is not."""
    return keys.make(new_license().id).license_key


MALFORMED = "obol_bad"


def test_every_route_needs_a_key_before_anything_else(app, client, problem, wire_error, upstream):
    asked = guarded(app) + guarded(app, admin_auth)
    assert len(asked) >= 45
    for method, _, path in asked:
        response = client.open(path, method=method, data=b"{not JSON", content_type="text/plain")
        (wire_error if path.startswith("/v1") else problem)(response, "credentials_missing")
        assert response.headers["WWW-Authenticate"] == "Bearer"
    assert upstream.received == []


def test_a_bad_key_is_refused_everywhere(app, stranger, upstream):
    assert set(BODIES) <= {rule for _, rule, _ in guarded(app)}
    for key in (stranger, MALFORMED):
        assert taking(app, key) == []
    assert upstream.received == []


def test_a_good_key_is_refused_nowhere(app, new_license):
    """Or what is refused above might be refused for something else."""
    calls = [(method, rule) for method, rule, _ in guarded(app) if method != "OPTIONS"]

    took = taking(app, new_license(credits=10_000).raw_key)
    assert took == [f"{method} {rule}" for method, rule in calls for _ in BODIES.get(rule, [None])]


def test_a_route_that_forgets_to_check_the_key_is_found(app, stranger):
    careless = Blueprint("careless", license_auth)

    @careless.get("/api/v1/forgotten")
    def forgotten():
        return {"balance": 5}

    @careless.post("/v1/only-parsed")
    def only_parsed():
        return {"license_id": license_key().license_id}

    @careless.get("/elsewhere/<uuid:hold_id>")
    def elsewhere(hold_id):
        return "a page"

    @careless.post("/api/v1/careful")
    def careful():
        licenses.check(services().database, license_key())
        return {}

    app.register_blueprint(careless)

    # A key that is none is found out when it is parsed; one of another license only by the database.
    assert sorted(taking(app, MALFORMED)) == ["GET /api/v1/forgotten", "GET /elsewhere/<uuid:hold_id>"]
    assert sorted(taking(app, stranger)) == [
        "GET /api/v1/forgotten",
        "GET /elsewhere/<uuid:hold_id>",
        "POST /v1/only-parsed",
    ]


def test_a_route_whose_body_is_in_no_table_here_is_found(app, stranger):
    unlisted = Blueprint("unlisted", license_auth)

    @unlisted.post("/api/v1/unlisted")
    def view():
        json_object()
        licenses.check(services().database, license_key())
        return {}

    app.register_blueprint(unlisted)

    assert taking(app, stranger) == taking(app, MALFORMED) == ["POST /api/v1/unlisted"]


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
    stranger, other_key_of_mine, unknown = (
        keys.make(license_id).license_key for license_id in (new_license().id, license.id, UUID(int=5))
    )
    mistyped = license.raw_key[:-1] + ("0" if license.raw_key[-1] != "0" else "1")

    details = set()
    for bad in (stranger, other_key_of_mine, unknown, mistyped, license.raw_key.upper(), "obol_", "x"):
        document = problem(client.get(LICENSE, headers={"x-api-key": bad}), "license_invalid")
        details.add((document["title"], document["detail"], frozenset(document)))
    assert len(details) == 1


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
