"""What an operator gives and takes, and who sees it: obol.grant_credits_v2, void_grant, list_grants, list_grants_of."""

from dataclasses import replace
from uuid import uuid4

import pytest

from service import operator
from service.repository import grants, holds

MOST = 2**63 - 1


@pytest.fixture
def void(owner):
    def end(license, made):
        return operator.void_grant(owner, license.id, made.grant_id)

    return end


@pytest.fixture
def in_hours(sql):
    return lambda hours: sql("SELECT clock_timestamp() + make_interval(hours => %s)", (hours,))[0][0]


def test_a_grant_says_what_it_is(new_license, grant, in_hours):
    license = new_license(credits=5)
    starts_at, expires_at = in_hours(1), in_hours(2)
    grant_id = uuid4()

    made = grant(license, 7, grant_id=grant_id, priority=3, starts_at=starts_at, expires_at=expires_at, reference="r")

    assert made._asdict() | {"created_at": None} == {
        "grant_id": grant_id, "amount": 7, "credits_left": 7, "lapsed": 0, "priority": 3, "starts_at": starts_at,
        "expires_at": expires_at, "state": "scheduled", "reason": "purchase", "reference": "r", "created_at": None,
        "balance": 5,
    }  # fmt: skip


def test_scheduled_credits_count_toward_the_largest_balance(new_license, grant, in_hours, refused):
    license = new_license(credits=10)
    grant(license, MOST - 10, starts_at=in_hours(1))

    # Else its start would fail, and with it every call.
    with refused("amount_invalid"):
        grant(license, 1)


def test_a_void_takes_what_is_left(new_license, grant, deduct, void, money, sql):
    license = new_license(credits=10)
    promotion = grant(license, 100, priority=0)
    deduct(license, 30)

    voided = void(license, promotion)

    assert (voided.state, voided.lapsed, voided.credits_left, voided.balance) == ("voided", 70, 0, 10)
    assert money(license) == (10, 0)
    assert sql("SELECT kind, amount, cause_id::text FROM obol.ledger_entries WHERE entry_no = 4") == [
        ("void", -70, str(promotion.grant_id))
    ]
    assert void(license, promotion) == voided


def test_a_void_leaves_what_is_held_until_the_hold_ends(db, process_id, new_license, grant, process_hold, void, money):
    license = new_license(credits=0)
    promotion = grant(license, 100)
    hold = process_hold(license, 40)

    voided = void(license, promotion)
    assert (voided.state, voided.lapsed, voided.credits_left, voided.balance) == ("voided", 60, 40, 40)
    assert money(license) == (40, 40)
    holds.release(db, license.key, hold.hold_id, process_id=process_id)
    assert money(license) == (0, 0)


def test_a_void_of_what_has_not_started_is_no_entry(new_license, grant, void, in_hours, sql):
    license = new_license(credits=10)
    coming = grant(license, 100, starts_at=in_hours(1))

    voided = void(license, coming)

    assert (voided.state, voided.lapsed, voided.credits_left, voided.balance) == ("voided", 100, 0, 10)
    assert sql("SELECT count(*) FROM obol.ledger_entries") == [(1,)]
    assert sql("SELECT next_change_at = 'infinity' FROM obol.licenses") == [(True,)]


@pytest.mark.parametrize("code", ["grant_not_found", "grant_ended", "license_invalid"])
def test_what_cannot_be_voided(new_license, grant, deduct, void, refused, code):
    license = new_license(credits=0)
    made = grant(license, 10)
    deduct(license, 10)
    if code == "grant_not_found":
        made = made._replace(grant_id=uuid4())
    elif code == "license_invalid":
        license = replace(license, id=uuid4())

    with refused(code):
        void(license, made)


def test_a_client_sees_what_it_can_use_and_an_operator_sees_all(db, owner, new_license, grant, deduct, void, in_hours):
    license, other = new_license(credits=0), new_license(credits=3)
    used, coming = grant(license, 10), grant(license, 20, starts_at=in_hours(1))
    deduct(license, 10)
    voided, active = grant(license, 30), grant(license, 40)
    void(license, voided)

    assert [row.grant_id for row in grants.list_usable(db, license.key)] == [coming.grant_id, active.grant_id]
    newest_first = [active, voided, coming, used]
    rows = grants.list_of(owner, license.id, limit=9)
    assert [row.grant_id for row in rows] == [row.grant_id for row in newest_first]
    assert [row.state for row in rows] == ["active", "voided", "scheduled", "used_up"]
    page = grants.list_of(owner, license.id, limit=2)
    assert grants.list_of(owner, license.id, before=page[-1].place, limit=2) == rows[2:]
    assert len(grants.list_of(owner, other.id, limit=9)) == 1


def test_strangers_see_no_grants(db, owner, new_license, refused):
    license, other = new_license(), new_license()
    with refused("license_invalid"):
        grants.list_usable(db, other.key._replace(license_id=license.id))
    with refused("license_invalid"):
        grants.list_of(owner, uuid4(), limit=1)
    with refused("admin_forbidden"):
        grants.list_of(db, license.id, limit=1)
    with refused("admin_forbidden"):
        grants.void(db, license.id, license.id)
