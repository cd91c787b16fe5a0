"""Who may use the admin API: nobody without a token, and with one what its scopes say."""

import re

import pytest
from flask.testing import FlaskClient

from service import keys
from service.http.auth import admin_auth
from service.repository import admin as repository
from service.repository.admin import SCOPES

NO_ID = "00000000-0000-0000-0000-000000000000"
WRONG = {
    "none": None,
    "another scheme": "Basic abc",
    "nothing after the scheme": "Bearer ",
}


def routes(app):
    """(method, path, scope) of everything of the admin API."""
    for rule in app.url_map.iter_rules():
        name, _, view = rule.endpoint.rpartition(".")
        if getattr(app.blueprints[name], "auth", None) is admin_auth:
            for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
                yield method, re.sub("<uuid:[a-z_]+>", NO_ID, str(rule)), app.blueprints[name].scopes[view]


def test_every_route_names_a_scope(app):
    found = list(routes(app))

    assert len(found) >= 16
    assert {scope for _, _, scope in found} == set(SCOPES)
    # What only looks needs no more than to read, and nobody lists tokens who may not make them.
    assert {scope for method, path, scope in found if method == "GET" and "tokens" not in path} == {"read"}


@pytest.mark.parametrize("given", WRONG.values(), ids=WRONG)
def test_without_a_token_nothing_is_answered(app, client: FlaskClient, problem, given):
    headers = {} if given is None else {"Authorization": given}
    for method, path, _ in routes(app):
        document = problem(client.open(path, method=method, headers=headers, data=b"{no JSON"), "credentials_missing")
        assert "admin token" in document["detail"]


def test_a_license_key_is_no_token(client, new_license, problem):
    problem(client.get("/api/v1/admin/licenses", headers=new_license().headers), "admin_forbidden")
    problem(client.get("/api/v1/admin/licenses", headers={"x-api-key": new_license().raw_key}), "credentials_missing")


def test_a_token_is_no_license_key(client, new_token, problem):
    headers = {"Authorization": f"Bearer {new_token()}"}
    problem(client.get("/api/v1/license", headers=headers), "license_invalid")


def test_a_wrong_token_is_refused_in_the_same_words_everywhere(app, client, new_token, problem, statements):
    good = new_token()
    flaw = good[:-1] + ("a" if good[-1] != "a" else "b")
    for token in (keys.make_token().token, flaw, "short", "o" * 40):
        for method, path, _ in routes(app):
            document = problem(
                client.open(path, method=method, headers={"Authorization": f"Bearer {token}"}, data=b"{no JSON"),
                "admin_forbidden",
            )
            assert document["detail"] == "The admin token is not valid."
    # What is no token at all is refused without the database.
    assert len(statements) == 2 * len(list(routes(app)))


def test_a_token_without_the_scope_is_told_which(app, client, new_token, problem):
    for method, path, scope in routes(app):
        headers = {"Authorization": f"Bearer {new_token(*(other for other in SCOPES if other != scope))}"}
        document = problem(client.open(path, method=method, headers=headers, data=b"{no JSON"), "admin_forbidden")
        assert document["scope"] == scope
        assert scope in document["detail"]


def test_a_revoked_token_is_refused_from_the_next_call_on(client, new_token, owner, problem):
    headers = {"Authorization": f"bearer  {new_token(name='shop')}"}
    assert client.get("/api/v1/admin/tokens", headers=headers).status_code == 200
    (token_id,) = [row.token_id for row in repository.list_tokens(owner)]
    repository.revoke_token(owner, token_id)

    problem(client.get("/api/v1/admin/tokens", headers=headers), "admin_forbidden")


def test_a_large_body_is_read_for_a_token_and_not_for_a_stranger(client, new_token, problem):
    body = {"name": "x" * 100_000}
    headers = {"Authorization": f"Bearer {new_token()}"}
    document = problem(client.post("/api/v1/admin/licenses", json=body, headers=headers), "validation_failed")
    assert document["errors"] == [{"field": "name", "message": "must have 0 to 200 characters"}]
    problem(client.post("/api/v1/admin/licenses", json=body), "credentials_missing")
    problem(client.post("/api/v1/admin/licenses", json={"name": "x" * 2_000_000}, headers=headers), "payload_too_large")


def test_the_log_names_the_token_and_has_none(client, new_token, logged):
    token = new_token(name="shop")
    client.get("/api/v1/admin/licenses", headers={"Authorization": f"Bearer {token}"}, buffered=True)

    (line,) = [line for line in logged if line["event"] == "request"]
    assert line["actor"] == "token:shop"
    assert token not in str(logged)


def test_the_first_token_is_whatever_the_operator_chose(client, owner):
    chosen = "a phrase that an operator has chosen"
    repository.register_first_token(owner, keys.parse_token(chosen))

    assert client.get("/api/v1/admin/audit", headers={"Authorization": f"Bearer {chosen}"}).status_code == 200
