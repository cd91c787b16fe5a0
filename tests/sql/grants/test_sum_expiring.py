"""The credits that end soon: what is left of them, in the order in which grants burn."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import admin, grants, ledger
from service.repository.grants import Terms

NOW = datetime.now(UTC)


@pytest.fixture
def grant(owner):
    def give(license, amount, days, priority=50):
        ends = None if days is None else NOW + timedelta(days=days)
        grants.grant(owner, license.id, uuid4(), amount=amount, terms=Terms(priority, None, ends), reason="r")

    return give


def soon(owner):
    return admin.sum_expiring(owner, NOW + timedelta(days=7))


def test_what_ends_within_the_time_is_summed_up(owner, new_license, grant):
    assert soon(owner) == (0, 0)
    one, other, third = (new_license(credits=100) for _ in range(3))
    grant(one, 30, 3)
    grant(one, 20, 6)
    grant(other, 5, 1)
    grant(third, 1000, 8)
    assert soon(owner) == (55, 2)


def test_what_was_used_comes_off_in_the_order_of_burning(owner, db, new_license, grant):
    license = new_license(credits=100)
    grant(license, 30, 3)
    grant(license, 50, 40, priority=10)
    ledger.deduct(db, license.key, uuid4(), amount=60)
    # First the one of priority 10, and then the one that ends.
    assert soon(owner) == (20, 1)
    ledger.deduct(db, license.key, uuid4(), amount=20)
    assert soon(owner) == (0, 0)


def test_what_was_voided_or_has_not_begun_is_not_counted(owner, new_license, grant):
    license = new_license(credits=0)
    grant(license, 30, 3)
    (only,) = grants.list_of(owner, license.id, limit=2)
    grants.void(owner, license.id, only.grant_id)
    start = NOW + timedelta(days=1)
    grants.grant(owner, license.id, uuid4(), amount=9, terms=Terms(50, start, start + timedelta(days=1)), reason="r")
    assert soon(owner) == (0, 0)


def test_a_token_is_asked_for(db):
    with pytest.raises(Problem) as caught:
        soon(db)
    assert caught.value.code == "admin_forbidden"
