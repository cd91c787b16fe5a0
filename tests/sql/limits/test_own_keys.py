"""Keys that whoever holds a license makes: only where the operator allows it, and only with the operator's own key."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import keys, operator
from service.repository import admin, licenses, limits, own_keys


@pytest.fixture
def allowed(owner, new_license):
    """`allowed(most=2)`: a license whose holder may make keys."""

    def make(most=2, **values):
        license = new_license(**values)
        limits.set_own_keys(owner, license.id, most)
        return license

    return make


def make(db, by, **values):
    return operator.create_own_key(db, by, **values)


def digest_of(new):
    return keys.parse(new.license_key)


def test_it_is_off_unless_an_operator_allows_it(db, owner, new_license, refused):
    license = new_license()
    assert limits.set_own_keys(owner, license.id) == 0
    for call in (
        lambda: make(db, license.key, name="CI"),
        lambda: own_keys.list_keys(db, license.key),
        lambda: own_keys.change(db, license.key, license.key_id, name="x"),
        lambda: own_keys.revoke(db, license.key, license.key_id),
    ):
        with refused("keys_not_allowed"):
            call()


def test_a_key_is_made_used_limited_and_revoked(db, allowed, deduct, told):
    license = allowed()
    new = make(db, license.key, name="CI", limits={"credits_per_day": 5})
    made = digest_of(new)
    assert licenses.find(db, made).license_id == license.id
    (listed,) = own_keys.list_keys(db, license.key)
    assert (listed.key_id, listed.name, listed.limits) == (new.key.key_id, "CI", {"credits_per_day": 5})
    changed = own_keys.change(db, license.key, new.key.key_id, name="X", limits={"credits_per_day": None})
    assert (changed.name, changed.limits) == ("X", None)
    assert own_keys.change(db, license.key, new.key.key_id, limits={"credits_per_month": 7}).name == "X"
    ended = own_keys.revoke(db, license.key, new.key.key_id)
    assert own_keys.revoke(db, license.key, new.key.key_id) == ended
    assert told(license) == ["key.revoked"]
    assert ended.revoked_at is not None


@pytest.fixture
def told(sql):
    query = "SELECT type FROM obol.events WHERE license_id = %s AND type <> 'grant.created'"
    return lambda of: [type for (type,) in sql(query, (str(of.id),))]


def test_the_database_refuses_the_keys_that_are_revoked(db, allowed, refused):
    license = allowed()
    new = make(db, license.key)
    own_keys.revoke(db, license.key, new.key.key_id)
    with refused("license_invalid"):
        licenses.find(db, digest_of(new))
    with refused("key_not_found"):
        own_keys.change(db, license.key, new.key.key_id, name="again")


def test_what_a_key_made_makes_none_and_neither_does_one_that_may_do_less(db, owner, allowed, refused):
    license = allowed(most=5)
    later = datetime.now(UTC) + timedelta(days=1)
    lesser = [
        make(db, license.key),
        operator.create_key(owner, license.id, limits={"credits_per_day": 5}),
        operator.create_key(owner, license.id, expires_at=later),
    ]
    for new in lesser:
        with refused("keys_not_allowed"):
            make(db, digest_of(new))
        with refused("keys_not_allowed"):
            own_keys.revoke(db, digest_of(new), lesser[0].key.key_id)


def test_the_operator_s_keys_and_others_are_not_its_holder_s(db, owner, allowed, refused):
    license, other = allowed(), allowed()
    theirs = make(db, other.key)
    operators = operator.create_key(owner, license.id)
    for key_id in (license.key_id, operators.key.key_id, theirs.key.key_id, uuid4()):
        with refused("key_not_found"):
            own_keys.revoke(db, license.key, key_id)
        with refused("key_not_found"):
            own_keys.change(db, license.key, key_id, limits={"credits_per_day": 1})
    assert own_keys.list_keys(db, license.key) == []


def test_so_many_are_good_at_once(db, allowed, refused):
    license = allowed(most=2)
    first, _ = make(db, license.key), make(db, license.key)
    with refused("keys_not_allowed") as caught:
        make(db, license.key)
    assert "2 keys are good already" in caught.value.detail
    own_keys.revoke(db, license.key, first.key.key_id)
    assert make(db, license.key).license_key is not None
    assert len(own_keys.list_keys(db, license.key)) == 3


def test_the_same_idempotency_key_makes_one_key(db, allowed, refused):
    license = allowed()
    first = make(db, license.key, name="CI", limits={"credits_per_day": 5}, idempotency_key="k")
    again = make(db, license.key, name="CI", limits={"credits_per_day": 5}, idempotency_key="k")
    assert (again.license_key, again.key) == (None, first.key)
    with refused("idempotency_key_reused"):
        make(db, license.key, name="other", idempotency_key="k")


def test_a_license_that_is_not_good_makes_none_but_ends_some(db, owner, allowed, refused):
    license = allowed()
    new = make(db, license.key)
    licenses.set_status(owner, license.id, "suspended")
    with refused("license_inactive"):
        make(db, license.key)
    with refused("license_inactive"):
        own_keys.change(db, license.key, new.key.key_id, name="x")
    assert own_keys.revoke(db, license.key, new.key.key_id).revoked_at is not None


def test_what_cannot_be_is_refused(db, allowed, refused):
    license = allowed()
    with refused("amount_invalid"):
        make(db, license.key, expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    with refused("amount_invalid"):
        make(db, license.key, limits={"credits_per_day": 0})
    made_up = keys.make(license.id).digest
    with refused("license_invalid"):
        make(db, made_up)


def test_an_operator_says_how_many_with_an_act(db, owner, new_license, new_token, refused):
    license = new_license()
    token = keys.parse_token(new_token("manage", "read"))
    actor, reader = admin.Actor(token, "r"), admin.Actor(keys.parse_token(new_token("read")), "r")
    assert limits.set_own_keys(db, license.id, 3, actor=actor) == 3
    assert limits.set_own_keys(db, license.id, 3, actor=actor) == 3
    assert limits.set_own_keys(db, license.id, actor=reader) == 3
    (act,) = [act for act in admin.list_acts(owner) if act.act == "set_own_keys"]
    assert act.detail == {"before": 0, "after": 3}
    with refused("admin_forbidden"):
        limits.set_own_keys(db, license.id, 0, actor=reader)
    with refused("amount_invalid"):
        limits.set_own_keys(db, license.id, 101, actor=actor)
    for most in (None, 5):
        with refused("license_invalid"):
            limits.set_own_keys(db, uuid4(), most, actor=actor)


def test_what_is_used_of_limits_is_shown(db, owner, new_license, new_key, deduct):
    license = new_license(credits=100)
    licenses.set_license(owner, license.id, limits={"credits_per_day": 50, "models": ["a*"]})
    key = new_key(license, credits_per_month=20)
    deduct(key, 7)
    deduct(license, 2)
    assert limits.show_limits(owner, license.id) == [("license", "credits_per_day", 50, 9)]
    assert limits.show_limits(owner, license.id, key_id=key.key_id) == [
        ("key", "credits_per_month", 20, 7),
        ("license", "credits_per_day", 50, 9),
    ]
