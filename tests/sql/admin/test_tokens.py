"""Tokens: made by who has what they may do, listed without what opens anything, and ended for good."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import keys
from service.problems import Problem
from service.repository import admin
from service.repository.admin import OWNER, PAGE, SCOPES, Actor

PAST = datetime(2020, 1, 1, tzinfo=UTC)
LATER = datetime(2999, 1, 1, tzinfo=UTC)


def make(db, *scopes, name="shop", token_id=None, digest=None, **values):
    token_id = token_id or uuid4()
    digest = digest or keys.make_token().digest
    admin.create_token(db, token_id, digest=digest, name=name, scopes=scopes, **values)
    return token_id


def acts(owner):
    return [(act.actor, act.act, act.target) for act in admin.list_acts(owner)]


def test_a_token_is_listed_as_it_was_made(owner):
    token_id = make(owner, "read", "grant", expires_at=LATER)

    (listed,) = admin.list_tokens(owner)
    assert (listed.token_id, listed.name, listed.scopes) == (token_id, "shop", ["read", "grant"])
    assert (listed.expires_at, listed.revoked_at) == (LATER, None)


def test_asked_again_it_is_made_once(owner, sql):
    token_id, digest = uuid4(), b"d" * 32
    for _ in range(2):
        make(owner, "read", token_id=token_id, digest=digest)

    assert len(admin.list_tokens(owner)) == len(admin.list_acts(owner)) == 1


def test_the_trail_says_what_was_made_and_no_digest(owner, sql):
    digest = b"d" * 32
    token_id = make(owner, "read", digest=digest, actor=Actor(None, "req_7"))

    (act,) = admin.list_acts(owner)
    assert act.actor.startswith("cli:")
    assert (act.act, act.target, act.license_id, act.request_id) == ("create_token", "shop", None, "req_7")
    assert act.detail == {"token_id": str(token_id), "scopes": ["read"], "expires_at": None}
    assert digest.hex() not in sql("SELECT string_agg(a::text, '') FROM obol.admin_acts a")[0][0]


def test_nobody_gives_a_scope_that_they_do_not_have(db, owner, token):
    some = token("read", "tokens", name="some")

    make(db, "read", "tokens", name="as much", actor=some)
    for scope in ("grant", "manage"):
        with pytest.raises(Problem) as refused:
            make(db, "read", scope, name="more", actor=some)
        assert (refused.value.code, refused.value.extra) == ("admin_forbidden", {"scope": scope})
    with pytest.raises(Problem, match="admin_forbidden"):
        make(db, "read", name="more", actor=token("read", "grant", "manage"))
    assert "more" not in {row.name for row in admin.list_tokens(owner)}
    assert acts(owner)[1:2] == [("token:some", "create_token", "as much")]


def test_two_good_tokens_have_not_one_name(owner):
    first = make(owner, "read")
    with pytest.raises(Problem) as refused:
        make(owner, "read")
    assert (refused.value.code, refused.value.extra) == ("already_exists", {"field": "name"})

    admin.revoke_token(owner, first)
    make(owner, "read")
    assert [row.name for row in admin.list_tokens(owner)] == ["shop", "shop"]


def test_an_expiry_that_is_past_is_refused(owner):
    with pytest.raises(Problem, match="amount_invalid"):
        make(owner, "read", expires_at=PAST)
    assert admin.list_tokens(owner) == []


def test_a_revoked_token_does_nothing_and_stays_revoked(db, owner, token):
    shop = token("read", name="shop")
    (listed,) = admin.list_tokens(owner)

    assert admin.revoke_token(owner, listed.token_id)
    with pytest.raises(Problem, match="admin_forbidden"):
        admin.list_acts(db, actor=shop)
    (revoked,) = admin.list_tokens(owner)
    assert admin.revoke_token(owner, listed.token_id)
    assert admin.list_tokens(owner) == [revoked]
    assert [act for _, act, _ in acts(owner)] == ["revoke_token", "create_token"]


def test_no_such_token(owner):
    assert not admin.revoke_token(owner, uuid4())
    assert admin.list_acts(owner) == []


def test_tokens_come_in_pages(db, owner, token):
    names = [row.name for row in admin.list_tokens(owner)]
    who = token("tokens", name="t")
    for number in range(3):
        token("read", name=str(number))

    first = admin.list_tokens(db, limit=2, actor=who)
    second = admin.list_tokens(db, after=first[-1].place, limit=2, actor=who)
    assert [row.name for row in first + second] == [*names, "t", "0", "1", "2"]
    assert admin.list_tokens(db, after=second[-1].place, actor=who) == []
    for scopes in (("read",), ("grant", "manage")):
        with pytest.raises(Problem, match="admin_forbidden"):
            admin.list_tokens(db, actor=token(*scopes))


def test_pages_read_all_of_a_list(token, owner):
    for _ in range(3):
        token("read")
    asked = []

    def read(after, limit):
        asked.append(after)
        assert limit == PAGE
        rows = admin.list_tokens(owner, after=after, limit=2)
        # As long as a whole page, while there is more.
        return rows * (PAGE // len(rows)) if len(rows) == 2 else rows

    assert {row.token_id for row in admin.pages(read)} == {row.token_id for row in admin.list_tokens(owner)}
    assert len(asked) == 2


def test_the_first_token_has_all_scopes_and_takes_the_place_of_the_one_before(db, owner):
    assert admin.register_first_token(owner, b"1" * 32) == "registered"
    assert admin.register_first_token(owner, b"1" * 32) == "known"
    for scope in SCOPES:
        assert admin.check(db, Actor(b"1" * 32, None), scope) == "token:OBOL_ADMIN_TOKEN"

    assert admin.register_first_token(owner, b"2" * 32) == "registered"
    with pytest.raises(Problem, match="admin_forbidden"):
        admin.check(db, Actor(b"1" * 32, None), "read")
    assert admin.check(db, Actor(b"2" * 32, None), "read")
    # An instance with yesterday's settings does not bring it back.
    assert admin.register_first_token(owner, b"1" * 32) == "revoked"
    assert admin.check(db, Actor(b"2" * 32, None), "read")
    assert [act for _, act, _ in acts(owner)] == ["register_first_token"] * 2


def test_the_first_token_revoked_stays_so(owner):
    admin.register_first_token(owner, b"1" * 32)
    (first,) = admin.list_tokens(owner)
    admin.revoke_token(owner, first.token_id)

    assert admin.register_first_token(owner, b"1" * 32) == "revoked"


def test_only_the_owner_registers_the_first_token(db, owner, sql):
    with pytest.raises(Problem, match="database_error"):
        admin.register_first_token(db, b"1" * 32)
    assert admin.list_tokens(owner, actor=OWNER) == []


def test_two_processes_that_start_at_once_register_it_once(owner):
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: admin.register_first_token(owner, b"1" * 32), range(4)))

    assert sorted(outcomes) == ["known"] * 3 + ["registered"]
    (first,) = admin.list_tokens(owner)
    assert first.created_at <= datetime.now(UTC) + timedelta(minutes=1)
