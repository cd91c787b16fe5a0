"""The database asks for the token: who may do what, and in whose name."""

from datetime import UTC, datetime, timedelta

import pytest
from factories import run

from service import keys
from service.problems import Problem
from service.repository import admin
from service.repository.admin import OWNER, SCOPES, Actor


def forbidden(db, actor, scope="read"):
    with pytest.raises(Problem) as caught:
        admin.check(db, actor, scope)
    assert caught.value.code == "admin_forbidden"
    return caught.value


def test_the_owner_s_login_needs_no_token(owner, sql):
    ((login,),) = sql("SELECT session_user::text")

    assert [admin.check(owner, OWNER, scope) for scope in SCOPES] == [f"cli:{login}"] * 4


def test_the_service_s_login_does(db):
    assert forbidden(db, OWNER).detail == "The admin token is not valid."


def test_a_role_that_was_set_is_not_who_logged_in(urls):
    """The service's login is a member of no role that owns the functions, whatever it sets."""
    with pytest.raises(Exception, match="ADMIN_FORBIDDEN"):
        run(urls.service, "SET ROLE obol_service; SELECT obol.check_token(NULL, 'read')")


def test_a_token_is_known_by_its_name_and_has_its_scopes_and_no_other(db, token):
    shop = token("read", "grant", name="shop")

    assert [admin.check(db, shop, scope) for scope in ("read", "grant")] == ["token:shop"] * 2
    for scope in ("manage", "tokens", "", None):
        refused = forbidden(db, shop, scope)
        assert refused.extra == {"scope": scope}
        assert scope is None or f"lacks the scope {scope}" in refused.detail


def test_unknown_expired_and_revoked_are_told_in_the_same_words(db, owner, sql, token):
    expired, revoked = token(expires_at=datetime.now(UTC) + timedelta(hours=1)), token(name="revoked")
    sql("UPDATE obol.admin_tokens SET expires_at = clock_timestamp() WHERE token_digest = %s", (expired.token_digest,))
    (token_id,) = [row.token_id for row in admin.list_tokens(owner) if row.name == "revoked"]
    assert admin.revoke_token(owner, token_id)

    told = {forbidden(db, who).detail for who in (Actor(b"x" * 32, None), expired, revoked, Actor(b"", None))}
    assert told == {"The admin token is not valid."}


def test_the_digest_of_a_license_key_is_no_token(db, new_license):
    forbidden(db, Actor(new_license().key.digest, None))


def test_a_token_is_checked_by_its_digest():
    new = keys.make_token()

    assert new.token.startswith("obol_admin_")
    assert keys.parse_token(new.token) == new.digest
    assert keys.parse(new.token) is None
    wrong = new.token[:-1] + ("a" if new.token[-1] != "a" else "b")
    for malformed in (wrong, new.token[:-1], new.token + "a", "obol_admin_", "x" * 31, ""):
        assert keys.parse_token(malformed) is None
    assert keys.parse_token("a phrase that an operator has chosen") is not None
