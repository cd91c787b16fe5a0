"""obol.set_license_status: suspend and resume."""

from uuid import uuid4

import pytest

from service.repository import holds, licenses


def test_suspends_and_resumes(db, owner, new_license, deduct, refused):
    license = new_license(credits=10)

    licenses.set_status(owner, license.id, "suspended")
    assert licenses.find(db, license.key).status == "suspended"
    with refused("license_inactive"):
        deduct(license)

    licenses.set_status(owner, license.id, "active")
    assert deduct(license).balance == 9


@pytest.mark.parametrize("status", ["suspended", "active"])
def test_the_same_again_changes_nothing(owner, new_license, contents, status):
    license = new_license()
    licenses.set_status(owner, license.id, status)
    before = contents()

    licenses.set_status(owner, license.id, status)

    assert contents() == before


def test_open_holds_stay_open(db, owner, new_license, client_hold, state_of):
    license = new_license(credits=10)
    hold = client_hold(license, 5)
    licenses.set_status(owner, license.id, "suspended")

    assert state_of(hold) == "held"
    assert holds.settle(db, license.key, hold.hold_id, amount=5).balance == 5


def test_other_licenses_stay_as_they_are(db, owner, new_license):
    license, other = new_license(), new_license()
    licenses.set_status(owner, license.id, "suspended")

    assert licenses.find(db, other.key).status == "active"


def test_an_unknown_license(owner, new_license, refused):
    new_license()

    with refused("license_invalid"):
        licenses.set_status(owner, uuid4(), "suspended")


@pytest.mark.parametrize("status", ["expired", ""])
def test_there_is_no_other_status(owner, new_license, refused, status):
    license = new_license()

    with refused("database_error"):
        licenses.set_status(owner, license.id, status)


def test_the_service_s_login_cannot_resume(db, owner, new_license, refused):
    license = new_license()
    licenses.set_status(owner, license.id, "suspended")

    with refused("admin_forbidden"):
        licenses.set_status(db, license.id, "active")
