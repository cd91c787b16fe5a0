"""obol.create_license: a license, its key and its opening grant, once."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import KeyDigest
from service.repository import licenses

PAST = datetime.now(UTC) - timedelta(days=1)


def create(owner, key=None, *, name="Ada", expires_at=None, credits=100, fingerprint=b"one"):
    key = key or KeyDigest(uuid4(), b"k" * 32)
    return licenses.create(owner, key, name=name, expires_at=expires_at, credits=credits, fingerprint=fingerprint)


def test_makes_a_license_that_its_key_opens(db, owner):
    key = KeyDigest(uuid4(), b"k" * 32)

    result = create(owner, key)

    assert (result.license_id, result.balance, result.created) == (key.license_id, 100, True)
    found = licenses.find(db, key)
    assert (found.name, found.status, found.expires_at, found.balance, found.held) == ("Ada", "active", None, 100, 0)


def test_books_the_opening_grant(owner, sql):
    result = create(owner, credits=100)

    assert sql("SELECT entry_no, kind, amount, balance_after, cause_id::text FROM obol.ledger_entries") == [
        (1, "grant", 100, 100, str(result.license_id))
    ]


def test_without_credits_nothing_is_booked(owner, sql):
    assert create(owner, credits=0).balance == 0
    assert sql("SELECT count(*) FROM obol.ledger_entries") == [(0,)]


def test_an_expiry_in_the_past_is_allowed(db, owner):
    key = KeyDigest(uuid4(), b"k" * 32)
    create(owner, key, expires_at=PAST)

    found = licenses.find(db, key)
    assert (found.status, found.expires_at) == ("expired", PAST)


def test_the_same_again_gives_the_same(owner, contents):
    key = KeyDigest(uuid4(), b"k" * 32)
    first = create(owner, key)
    before = contents()

    assert create(owner, key) == first
    assert contents() == before


def test_the_same_again_with_another_key_says_that_this_one_does_not_open_it(db, owner, contents):
    key = KeyDigest(uuid4(), b"k" * 32)
    create(owner, key)
    before = contents()

    again = create(owner, key._replace(digest=b"l" * 32))

    assert (again.license_id, again.balance, again.created) == (key.license_id, 100, False)
    assert contents() == before


def test_the_same_id_with_other_values_is_refused(owner, refused):
    key = KeyDigest(uuid4(), b"k" * 32)
    create(owner, key)

    with refused("idempotency_key_reused"):
        create(owner, key, credits=101, fingerprint=b"another")


@pytest.mark.parametrize("credits", [-1, None])
def test_the_amount_goes_first(owner, refused, credits):
    key = KeyDigest(uuid4(), b"k" * 32)
    create(owner, key)

    with refused("amount_invalid"):
        create(owner, key, credits=credits, fingerprint=b"another")
    with refused("amount_invalid"):
        create(owner, credits=credits)


def test_two_licenses_may_bear_the_same_name(owner):
    assert create(owner).license_id != create(owner).license_id


def test_the_service_s_login_cannot_make_licenses(db, refused):
    with refused("admin_forbidden"):
        create(db)
