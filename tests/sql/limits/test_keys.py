"""Several keys a license: making, changing, revoking and rotating them."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import admin, holds, licenses, limits


@pytest.fixture
def listed(owner):
    """`listed(license)`: its keys by id, oldest first."""
    return lambda of: {row.key_id: row for row in limits.list_keys(owner, of.id)}


def acts(owner):
    return [(act.act, act.target) for act in reversed(admin.list_acts(owner)) if act.act.endswith("_key")]


def test_each_key_opens_the_same_license(owner, new_license, new_key, deduct, listed):
    license = new_license(credits=10)
    key = new_key(license, name="CI", credits_per_day=5)
    assert deduct(key, 3).balance == 7
    assert deduct(license, 3).balance == 4

    first, second = listed(license).values()
    assert (first.name, first.limits, first.revoked_at, first.expires_at) == ("", None, None, None)
    assert (second.key_id, second.name, second.limits) == (key.key_id, "CI", {"credits_per_day": 5})
    assert second.last_used_at >= second.created_at
    assert acts(owner) == [("create_key", str(key.key_id))]


def test_made_again_it_is_the_same(owner, new_license, listed):
    license, id = new_license(), uuid4()
    digest = KeyDigest(license.id, b"n" * 32)
    first = limits.create_key(owner, digest, id, name="once")
    assert limits.create_key(owner, digest, id, name="once") == first
    assert len(listed(license)) == 2
    assert acts(owner) == [("create_key", str(id))]


def test_an_idempotency_key_makes_one_key(owner, new_license, listed, refused, verified):
    license, first_id, expires_at = new_license(), uuid4(), datetime.now(UTC) + timedelta(seconds=1)

    def make(key_id, *, fingerprint=b"one", license=license):
        digest = KeyDigest(license.id, key_id.bytes * 2)
        return limits.create_key(
            owner, digest, key_id, name="once", expires_at=expires_at, idempotency_key="k", fingerprint=fingerprint
        )

    first = make(first_id)
    # Renamed since, and at an end: a replay asks for nothing but what it stands for.
    changed = limits.set_key(
        owner, license.id, first_id, name="other", expires_at=datetime(2020, 1, 1, tzinfo=UTC), allow_past=True
    )
    expires_at = datetime(2020, 1, 1, tzinfo=UTC)
    assert make(first_id) == make(uuid4()) == changed
    with refused("idempotency_key_reused"):
        make(uuid4(), fingerprint=b"two")
    assert first.key_id == changed.key_id == first_id
    assert len(listed(license)) == 2
    assert [act for act, _ in acts(owner)] == ["create_key", "set_key"]
    expires_at = None
    assert make(other := uuid4(), license=new_license()).key_id == other
    verified()


def test_pages_of_keys(owner, new_license, new_key):
    license = new_license()
    for n in range(3):
        new_key(license, name=str(n))
    first = limits.list_keys(owner, license.id, limit=2)
    rest = limits.list_keys(owner, license.id, after=first[-1].place)
    assert [row.name for row in [*first, *rest]] == ["", "0", "1", "2"]


def test_a_key_is_changed_in_part(owner, new_license, new_key):
    license = new_license()
    key = new_key(license, name="a", credits_per_day=5, models=["m"])
    end = datetime(2100, 1, 1, tzinfo=UTC)
    changed = limits.set_key(owner, license.id, key.key_id, limits={"credits_per_day": None, "concurrent_holds": 2})
    assert (changed.name, changed.limits) == ("a", {"models": ["m"], "concurrent_holds": 2})
    changed = limits.set_key(owner, license.id, key.key_id, name="b", expires_at=end, limits=limits.NO_LIMITS)
    assert (changed.name, changed.limits, changed.expires_at) == ("b", None, end)
    for _ in range(2):
        changed = limits.set_key(owner, license.id, key.key_id, expires_at="never")
    assert (changed.name, changed.limits, changed.expires_at) == ("b", None, None)
    assert [act for act, _ in acts(owner)] == ["create_key", *["set_key"] * 3]


def test_a_time_that_is_past_has_to_be_allowed(owner, new_license, new_key, deduct, refused):
    license = new_license()
    key = new_key(license)
    past = datetime.now(UTC) - timedelta(hours=1)
    with refused("amount_invalid"):
        limits.set_key(owner, license.id, key.key_id, expires_at=past)
    with refused("amount_invalid"):
        limits.create_key(owner, KeyDigest(license.id, b"n" * 32), uuid4(), expires_at=past)
    limits.set_key(owner, license.id, key.key_id, expires_at=past, allow_past=True)
    with refused("license_invalid"):
        deduct(key)
    deduct(license)


@pytest.mark.parametrize(
    "bad",
    [
        {"requests_per_minute": 0},
        {"requests_per_minute": 1_000_001},
        {"concurrent_holds": 1.5},
        {"credits_per_day": 2**63},
        {"credits_per_month": "7"},
        {"credits_per_month": True},
        {"models": []},
        {"models": ["m", ""]},
        {"models": ["m", 1]},
        {"models": ["*m"]},
        {"models": ["m*", "m**"]},
        {"models": "m"},
        {"models": ["m"] * 101},
        {"calls": 1},
        {"calls": None},
    ],
)
def test_what_is_no_limit_is_refused_wherever_it_is_said(owner, new_license, new_key, refused, bad):
    license = new_license()
    key = new_key(license)
    for call in (
        lambda: limits.create_key(owner, KeyDigest(license.id, b"n" * 32), uuid4(), limits=bad),
        lambda: limits.set_key(owner, license.id, key.key_id, limits=bad),
        lambda: licenses.set_license(owner, license.id, limits=bad),
        lambda: licenses.create(owner, KeyDigest(uuid4(), b"n" * 32), limits=bad),
    ):
        with refused("amount_invalid") as caught:
            call()
        assert caught.value.extra == {"field": f"limits.{next(iter(bad))}"}


def test_a_revoked_key_is_refused_as_an_unknown_one(owner, new_license, new_key, deduct, refused):
    license = new_license()
    key = new_key(license)
    first = limits.revoke_key(owner, license.id, key.key_id)
    assert limits.revoke_key(owner, license.id, key.key_id) == first
    with refused("license_invalid") as revoked:
        deduct(key)
    object.__setattr__(key, "key", KeyDigest(license.id, b"u" * 32))
    with refused("license_invalid") as unknown:
        deduct(key)
    assert str(revoked.value) == str(unknown.value)
    deduct(license)
    assert acts(owner) == [("create_key", str(key.key_id)), ("revoke_key", str(key.key_id))]


def test_what_was_opened_with_a_key_is_settled_though_it_is_revoked(
    db, owner, new_license, new_key, process_hold, client_hold, settle, money
):
    license = new_license(credits=100)
    key = new_key(license, concurrent_holds=2)
    theirs, ours = process_hold(key, 50), client_hold(key, 30)
    limits.revoke_key(owner, license.id, key.key_id)
    settle(key, theirs, 40)
    holds.settle(db, key.key, ours.hold_id, amount=30)
    assert money(license) == (30, 0)


def test_what_is_revoked_or_not_there_cannot_be_changed(owner, new_license, new_key, refused):
    license, other = new_license(), new_license()
    key, revoked = new_key(other), new_key(license)
    limits.revoke_key(owner, license.id, revoked.key_id)
    digest = KeyDigest(license.id, b"n" * 32)
    for id in (key.key_id, revoked.key_id, uuid4()):
        with refused("key_not_found"):
            limits.set_key(owner, license.id, id, name="x")
        with refused("key_not_found"):
            licenses.rotate_key(owner, digest, 60, only_key_id=id)
    with refused("key_not_found"):
        limits.revoke_key(owner, license.id, key.key_id)


def test_a_license_that_is_not_there_has_no_keys(owner, refused):
    nowhere = uuid4()
    for call in (
        lambda: limits.list_keys(owner, nowhere),
        lambda: limits.create_key(owner, KeyDigest(nowhere, b"n" * 32), uuid4()),
        lambda: limits.set_key(owner, nowhere, uuid4()),
        lambda: limits.revoke_key(owner, nowhere, uuid4()),
    ):
        with refused("license_invalid"):
            call()


def test_without_a_token_nobody_but_the_owner_does_any_of_it(db, new_license, new_key, refused):
    license = new_license()
    key = new_key(license)
    for call in (
        lambda: limits.list_keys(db, license.id),
        lambda: limits.create_key(db, KeyDigest(license.id, b"n" * 32), uuid4()),
        lambda: limits.set_key(db, license.id, key.key_id, limits=limits.NO_LIMITS),
        lambda: limits.revoke_key(db, license.id, key.key_id),
    ):
        with refused("admin_forbidden"):
            call()


def test_one_key_is_rotated_and_no_other_ends(owner, new_license, new_key, deduct, listed, refused):
    license = new_license()
    key, other = new_key(license, name="CI", credits_per_day=5), new_key(license)
    new_id, digest = uuid4(), KeyDigest(license.id, b"n" * 32)
    ends_at = licenses.rotate_key(owner, digest, 0, key_id=new_id, only_key_id=key.key_id)
    assert licenses.rotate_key(owner, digest, 0, key_id=new_id, only_key_id=key.key_id) == ends_at

    deduct(license)
    deduct(other)
    with refused("license_invalid"):
        deduct(key)
    new = listed(license)[new_id]
    assert (new.name, new.limits, new.expires_at) == ("CI", {"credits_per_day": 5}, None)
    assert listed(license)[key.key_id].expires_at == ends_at


def test_all_keys_are_rotated_but_what_is_revoked_stays(owner, new_license, new_key, listed):
    license = new_license()
    revoked, key = new_key(license), new_key(license)
    limits.revoke_key(owner, license.id, revoked.key_id)
    ends_at = licenses.rotate_key(owner, KeyDigest(license.id, b"n" * 32), 60)
    first, was_revoked, second, new = listed(license).values()
    assert (first.expires_at, second.key_id, second.expires_at) == (ends_at, key.key_id, ends_at)
    assert (was_revoked.expires_at, new.expires_at, new.name, new.limits) == (None, None, "", None)


def test_a_license_made_with_limits_has_them(owner):
    made = licenses.create(owner, KeyDigest(uuid4(), b"n" * 32), limits={"requests_per_minute": 5})
    assert licenses.show(owner, made.license_id).limits == {"requests_per_minute": 5}
    assert [row.key_id for row in limits.list_keys(owner, made.license_id)] == [made.key_id]


def test_a_change_of_a_license_s_limits_is_an_act(owner, new_license):
    license = new_license()
    for _ in range(2):
        licenses.set_license(owner, license.id, limits={"concurrent_holds": 2})
    (act,) = [act for act in admin.list_acts(owner) if act.act == "set_license"]
    assert (act.detail["before"]["limits"], act.detail["after"]["limits"]) == (None, {"concurrent_holds": 2})
