"""obol.find_license: what a key shows of its license."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import licenses

PAST = datetime.now(UTC) - timedelta(days=1)
FUTURE = datetime.now(UTC) + timedelta(days=1)


def test_shows_the_license(db, new_license, client_hold):
    license = new_license(credits=1000, name="Ada", expires_at=FUTURE)
    client_hold(license, 300)

    assert tuple(licenses.find(db, license.key)) == (license.id, "Ada", "active", FUTURE, 1000, 300, 700)


@pytest.mark.parametrize(
    ("suspended", "expires_at", "status"),
    [
        (False, None, "active"),
        (False, FUTURE, "active"),
        (False, PAST, "expired"),
        (True, None, "suspended"),
        (True, PAST, "suspended"),
    ],
)
def test_shows_its_status_whatever_it_is(db, owner, new_license, suspended, expires_at, status):
    license = new_license(credits=10, expires_at=expires_at)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    found = licenses.find(db, license.key)

    assert (found.status, found.balance) == (status, 10)


def test_each_key_opens_its_own(db, new_license):
    one, other = new_license(credits=1), new_license(credits=2)

    assert licenses.find(db, one.key).balance == 1
    assert licenses.find(db, other.key).balance == 2


def test_every_reason_is_told_in_the_same_words(db, owner, new_license, refused):
    license, other = new_license(), new_license()
    licenses.rotate_key(owner, KeyDigest(other.id, b"n" * 32), 0)
    reasons = [
        KeyDigest(uuid4(), license.key.digest),
        KeyDigest(license.id, b"\0" * 32),
        KeyDigest(license.id, other.key.digest),
        other.key,
    ]

    details = set()
    for key in reasons:
        with refused("license_invalid") as problem:
            licenses.find(db, key)
        details.add(problem.value.detail)
    assert details == {"The license key is not valid."}
