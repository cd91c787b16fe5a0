"""obol.list_entries: the statement of a license, as the release before asks for it."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from service.keys import KeyDigest
from service.repository import licenses
from service.repository.usage import Entry

LIST = text("SELECT * FROM obol.list_entries(:license_id, :digest, :before, :limit)")


def list_entries(db, key, *, before, limit):
    rows = db.rows(LIST, license_id=key.license_id, digest=key.digest, before=before, limit=limit)
    return [Entry(*row[:7], None, *row[7:]) for row in rows]


def entries_of(db, license, before=None, limit=10):
    return list_entries(db, license.key, before=before, limit=limit)


def test_an_entry_says_what_changed_and_why(db, new_license, deduct):
    license = new_license(credits=1000)
    deduction = deduct(license, 300, reference="job 7")

    entry = entries_of(db, license)[0]

    assert (entry.entry_no, entry.kind, entry.amount, entry.balance_after) == (2, "deduction", -300, 700)
    assert (entry.cause_id, entry.reference, entry.model, entry.usage) == (
        deduction.deduction_id,
        "job 7",
        None,
        None,
    )
    assert abs(datetime.now(UTC) - entry.created_at) < timedelta(seconds=10)


def test_a_charge_shows_model_and_usage(db, new_license, process_hold, settle):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 7)

    entry = entries_of(db, license, limit=1)[0]

    assert (entry.kind, entry.amount, entry.cause_id) == ("charge", -7, hold.hold_id)
    assert (entry.model, entry.usage) == ("a-model", {"output": 7})


@pytest.mark.parametrize(
    ("before", "limit", "numbers"),
    [
        (None, 10, [5, 4, 3, 2, 1]),
        (None, 2, [5, 4]),
        (4, 2, [3, 2]),
        (2, 2, [1]),
        (1, 2, []),
        (100, 1, [5]),
        (None, 0, []),
    ],
)
def test_newest_first_page_by_page(db, new_license, deduct, before, limit, numbers):
    license = new_license()
    for _ in range(4):
        deduct(license)

    entries = entries_of(db, license, before, limit)

    assert [entry.entry_no for entry in entries] == numbers


def test_only_the_license_s_own(db, new_license, deduct):
    one, other = new_license(), new_license()
    deduct(other)

    assert len(entries_of(db, one)) == 1
    assert len(entries_of(db, other)) == 2


def test_a_suspended_and_expired_license_may_still_read_it(db, owner, new_license):
    license = new_license(expires_at=datetime.now(UTC) - timedelta(days=1))
    licenses.set_status(owner, license.id, "suspended")

    assert len(entries_of(db, license)) == 1


def test_a_key_of_another_license_reads_nothing(db, new_license, refused):
    license, other = new_license(), new_license()

    with refused("license_invalid"):
        list_entries(db, KeyDigest(license.id, other.key.digest), before=None, limit=10)
    with refused("license_invalid"):
        list_entries(db, KeyDigest(uuid4(), license.key.digest), before=None, limit=10)
