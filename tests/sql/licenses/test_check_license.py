"""obol.check_license: the key first, then the state of the license."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import licenses

PAST = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_good_license_passes_and_nothing_changes(db, new_license, contents):
    license = new_license(credits=0)
    before = contents()

    assert licenses.check(db, license.key) is None
    assert contents() == before


@pytest.mark.parametrize(
    ("suspended", "expires_at", "code"),
    [(True, None, "license_inactive"), (False, PAST, "license_expired"), (True, PAST, "license_inactive")],
)
def test_a_license_that_may_not_be_used(db, owner, new_license, refused, suspended, expires_at, code):
    license = new_license(expires_at=expires_at)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    with refused(code):
        licenses.check(db, license.key)


def test_a_wrong_key_learns_nothing_of_the_license(db, owner, new_license, refused):
    license = new_license(expires_at=PAST)
    licenses.set_status(owner, license.id, "suspended")

    for key in (KeyDigest(license.id, bytes(32)), KeyDigest(uuid4(), license.key.digest)):
        with refused("license_invalid") as problem:
            licenses.check(db, key)
        assert problem.value.detail == "The license key is not valid."


def test_a_key_that_was_rotated_away(db, new_license, refused, sql):
    license = new_license()
    sql("UPDATE obol.license_keys SET expires_at = clock_timestamp()")

    with refused("license_invalid"):
        licenses.check(db, license.key)
