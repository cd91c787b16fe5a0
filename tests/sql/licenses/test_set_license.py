"""obol.set_license: a new name, a new expiry, and no license cut off by a slip."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.repository import holds, licenses

NOW = datetime.now(UTC)
PAST, SOON, LATER = NOW - timedelta(days=1), NOW + timedelta(days=1), NOW + timedelta(days=365)


@pytest.mark.parametrize(
    ("values", "name", "expires_at"),
    [
        ({}, "before", SOON),
        ({"name": "after"}, "after", SOON),
        ({"name": ""}, "", SOON),
        ({"expires_at": LATER}, "before", LATER),
        ({"expires_at": "never"}, "before", None),
        ({"name": "after", "expires_at": LATER}, "after", LATER),
        ({"expires_at": PAST, "allow_past": True}, "before", PAST),
    ],
)
def test_what_is_named_is_set_and_the_rest_stays(owner, db, new_license, contents, values, name, expires_at):
    license, other = new_license(name="before", expires_at=SOON), new_license(name="other")
    licenses.set_license(owner, license.id, **values)
    before = contents()

    # The same again changes nothing.
    licenses.set_license(owner, license.id, **values)

    assert contents() == before
    found = licenses.find(db, license.key)
    assert (found.name, found.expires_at, found.balance) == (name, expires_at, 1000)
    assert licenses.find(db, other.key).name == "other"


def test_an_expired_license_is_good_again_once_it_is_renewed(owner, new_license, deduct, refused):
    license = new_license(credits=10, expires_at=PAST)
    with refused("license_expired"):
        deduct(license)

    licenses.set_license(owner, license.id, expires_at=LATER)

    assert deduct(license).balance == 9


def test_a_past_time_has_to_be_allowed(owner, new_license, refused):
    license = new_license(name="before", expires_at=SOON)

    with refused("amount_invalid") as problem:
        licenses.set_license(owner, license.id, name="after", expires_at=PAST)
    assert "is past" in str(problem.value)
    assert "--allow-past" in str(problem.value)


def test_an_expiry_that_has_passed_since_can_be_set_again(owner, new_license, contents):
    license = new_license(expires_at=PAST)
    before = contents()

    licenses.set_license(owner, license.id, expires_at=PAST)

    assert contents() == before


def test_what_was_opened_before_the_end_is_settled_after_it(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    hold = client_hold(license, 40)
    licenses.set_license(owner, license.id, expires_at=PAST, allow_past=True)

    assert holds.settle(db, license.key, hold.hold_id, amount=40).balance == 60


@pytest.mark.parametrize("expires_at", [None, LATER, PAST])
def test_an_unknown_license(owner, new_license, refused, expires_at):
    new_license()

    with refused("license_invalid"):
        licenses.set_license(owner, uuid4(), expires_at=expires_at)


def test_the_service_s_login_cannot_renew(db, new_license, refused):
    license = new_license(expires_at=PAST)

    with refused("admin_forbidden"):
        licenses.set_license(db, license.id, expires_at="never")
