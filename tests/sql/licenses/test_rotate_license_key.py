"""obol.rotate_license_key: a new key, and an end for the ones before it."""

from datetime import UTC, timedelta
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import licenses, limits


def next_key(license, letter=b"n"):
    return KeyDigest(license.id, letter * 32)


def opens(db, key):
    return licenses.find(db, key).license_id == key.license_id


def test_the_new_key_opens_and_the_old_one_does_too_for_the_overlap(db, owner, new_license):
    license = new_license()

    licenses.rotate_key(owner, next_key(license), 3600)

    assert opens(db, next_key(license))
    assert opens(db, license.key)


def test_says_when_the_old_key_ends(owner, new_license, sql):
    license = new_license()

    ends_at = licenses.rotate_key(owner, next_key(license), 3600)

    assert sql("SELECT expires_at, created_at FROM obol.license_keys ORDER BY created_at") == [
        (ends_at, sql("SELECT created_at FROM obol.license_keys WHERE expires_at IS NOT NULL")[0][0]),
        (None, ends_at - timedelta(seconds=3600)),
    ]


def test_after_the_overlap_the_old_key_opens_nothing(db, owner, new_license, sql, refused):
    license = new_license()
    licenses.rotate_key(owner, next_key(license), 3600)
    sql("UPDATE obol.license_keys SET expires_at = expires_at - interval '1 hour'")

    with refused("license_invalid"):
        licenses.find(db, license.key)
    assert opens(db, next_key(license))


def test_without_an_overlap_it_ends_at_once(db, owner, new_license, refused):
    license = new_license()
    licenses.rotate_key(owner, next_key(license), 0)

    with refused("license_invalid"):
        licenses.find(db, license.key)


def told(sql, license):
    rows = sql(
        "SELECT cause_id, data FROM obol.events WHERE type = 'key.revoked' AND license_id = %s", (str(license.id),)
    )
    return sorted((cause_id, data["key_id"], data["name"], data["revoked_at"]) for cause_id, data in rows)


def test_what_ends_at_once_is_told_once(owner, new_license, sql):
    license, other = new_license(), new_license()
    kept = limits.create_key(owner, next_key(license, b"k"), uuid4(), name="kept")
    for _ in range(2):
        at = licenses.rotate_key(owner, next_key(license), 0)
    said = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    ended = ((str(license.key_id), ""), (str(kept.key_id), "kept"))
    assert told(sql, license) == sorted((key_id, key_id, name, said) for key_id, name in ended)
    # What ended before is not told again, nor when it is revoked as well.
    limits.revoke_key(owner, license.id, kept.key_id)
    licenses.rotate_key(owner, next_key(license, b"m"), 0)
    assert len(told(sql, license)) == 3
    assert told(sql, other) == []


def test_one_key_that_ends_at_once_is_told(owner, new_license, sql):
    license = new_license()
    kept = limits.create_key(owner, next_key(license, b"k"), uuid4(), name="kept")
    licenses.rotate_key(owner, next_key(license), 0, only_key_id=kept.key_id)
    assert [name for _, _, name, _ in told(sql, license)] == ["kept"]


def test_what_ends_later_is_not_told(owner, new_license, sql):
    license = new_license()
    licenses.rotate_key(owner, next_key(license), 1)
    assert told(sql, license) == []


def test_the_same_again_gives_the_same_and_changes_nothing(owner, new_license, contents):
    license = new_license()
    first = licenses.rotate_key(owner, next_key(license), 3600)
    before = contents()

    assert licenses.rotate_key(owner, next_key(license), 3600) == first
    assert contents() == before


def test_a_second_rotation_never_lengthens_an_end(db, owner, new_license, sql, refused):
    license = new_license()
    licenses.rotate_key(owner, next_key(license, b"n"), 0)
    ends_at = licenses.rotate_key(owner, next_key(license, b"m"), 3600)

    with refused("license_invalid"):
        licenses.find(db, license.key)
    assert sql("SELECT expires_at = %s FROM obol.license_keys ORDER BY created_at", (ends_at,)) == [
        (False,),
        (True,),
        (None,),
    ]


def test_a_second_rotation_shortens_a_longer_end(owner, new_license, sql):
    license = new_license()
    licenses.rotate_key(owner, next_key(license, b"n"), 3600)
    ends_at = licenses.rotate_key(owner, next_key(license, b"m"), 60)

    assert sql("SELECT expires_at FROM obol.license_keys ORDER BY created_at") == [(ends_at,), (ends_at,), (None,)]


@pytest.mark.parametrize("overlap_s", [0, 3600])
def test_only_the_keys_of_this_license_end(db, owner, new_license, overlap_s):
    license, other = new_license(), new_license()
    licenses.rotate_key(owner, next_key(license), overlap_s)

    assert opens(db, other.key)


def test_a_suspended_license_can_have_its_key_rotated(db, owner, new_license):
    license = new_license()
    licenses.set_status(owner, license.id, "suspended")
    licenses.rotate_key(owner, next_key(license), 0)

    assert opens(db, next_key(license))


def test_an_unknown_license(owner, new_license, refused):
    new_license()

    with refused("license_invalid"):
        licenses.rotate_key(owner, KeyDigest(uuid4(), b"n" * 32), 0)


def test_the_service_s_login_cannot_add_a_key(db, new_license, refused):
    license = new_license()

    with refused("admin_forbidden"):
        licenses.rotate_key(db, next_key(license), 0)
