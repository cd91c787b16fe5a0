"""obol.bring_up_to_date: grants that start and end without anybody's doing, and what holds keep of them. The rules
themselves are in test_model; here is what it shows to a client and in the statement."""

from uuid import uuid4

import pytest

from service.problems import Problem
from service.repository import grants, holds, ledger, licenses

ENTRIES = "SELECT kind, amount, balance_after FROM obol.ledger_entries ORDER BY entry_no"


@pytest.fixture
def later(sql):
    """`later(grant)`: its start or end, whatever is next, is a moment ago, and nobody has noticed yet."""

    def move(grant):
        at = {"id": str(grant.grant_id)}
        sql("UPDATE obol.grants SET starts_at = starts_at - interval '2 hours' WHERE grant_id = %(id)s", at)
        sql("UPDATE obol.grants SET expires_at = expires_at - interval '2 hours' WHERE grant_id = %(id)s", at)
        sql("UPDATE obol.licenses SET next_change_at = clock_timestamp() WHERE next_change_at < 'infinity'")

    return move


@pytest.fixture
def in_hours(sql):
    """`in_hours(2)`: a time from now, by the clock of the database."""
    return lambda hours: sql("SELECT clock_timestamp() + make_interval(hours => %s)", (hours,))[0][0]


def test_a_scheduled_grant_is_no_balance_until_it_starts(db, new_license, grant, later, in_hours, money, sql):
    license = new_license(credits=0)
    made = grant(license, 100, starts_at=in_hours(1))
    assert (made.state, made.balance, made.credits_left) == ("scheduled", 0, 100)
    assert money(license) == (0, 0)
    assert sql(ENTRIES) == []

    later(made)
    assert money(license) == (100, 0)
    assert sql(ENTRIES) == [("grant", 100, 100)]


@pytest.mark.parametrize("call", ["deduct", "client_hold", "process_hold"])
def test_what_has_expired_cannot_be_used_though_nobody_noticed(
    new_license, grant, deduct, client_hold, process_hold, later, in_hours, sql, call
):
    license = new_license(credits=0)
    promotion = grant(license, 100, expires_at=in_hours(1))
    deduct(license, 30)
    later(promotion)

    with pytest.raises(Problem) as caught:
        {"deduct": deduct, "client_hold": client_hold, "process_hold": process_hold}[call](license, 1)
    assert (caught.value.code, caught.value.extra) == ("insufficient_credits", {"required": 1, "available": 0})
    # What is refused leaves nothing behind; whoever looks next does it.
    assert sql(ENTRIES) == [("grant", 100, 100), ("deduction", -30, 70)]
    assert sql("SELECT obol.bring_up_to_date(license_id) FROM obol.licenses") == [(True,)]
    assert sql(ENTRIES)[2:] == [("expiry", -70, 0)]


def test_a_call_brings_the_license_up_to_date_and_goes_on(new_license, grant, deduct, later, in_hours, sql):
    license = new_license(credits=50)
    later(grant(license, 100, priority=10, expires_at=in_hours(1)))

    assert deduct(license, 20).balance == 30
    assert sql(ENTRIES)[2:] == [("expiry", -100, 50), ("deduction", -20, 30)]


def test_held_credits_outlive_their_grant_until_the_hold_ends(
    db, process_id, new_license, grant, process_hold, later, in_hours, money, sql
):
    license = new_license(credits=0)
    promotion = grant(license, 100, expires_at=in_hours(1))
    hold = process_hold(license, 40)
    later(promotion)
    assert money(license) == (40, 40)

    holds.release(db, license.key, hold.hold_id, process_id=process_id)
    assert money(license) == (0, 0)
    assert sql(ENTRIES) == [("grant", 100, 100), ("expiry", -60, 40), ("expiry", -40, 0)]


def test_held_credits_are_charged_after_their_grant_has_ended(
    new_license, grant, process_hold, settle, later, in_hours, money, sql
):
    license = new_license(credits=0)
    promotion = grant(license, 100, expires_at=in_hours(1))
    hold = process_hold(license, 40)
    later(promotion)

    assert settle(license, hold, 25).balance == 15
    assert money(license) == (0, 0)
    assert sql(ENTRIES) == [("grant", 100, 100), ("expiry", -60, 40), ("charge", -25, 15), ("expiry", -15, 0)]


def test_while_a_hold_protects_credits_calls_go_on(new_license, grant, process_hold, deduct, later, in_hours, money):
    license = new_license(credits=10)
    promotion = grant(license, 100, priority=10, expires_at=in_hours(1))
    process_hold(license, 40)
    later(promotion)

    assert deduct(license, 4).balance == 46
    assert money(license) == (46, 40)
    with pytest.raises(Problem, match="insufficient_credits"):
        deduct(license, 7)


def test_a_grant_that_ends_while_a_call_waits_for_the_row_is_not_used(db, new_license, grant, in_hours, at_once):
    license = new_license(credits=0)
    grant(license, 100, expires_at=in_hours(1))
    end = (
        "UPDATE obol.grants SET starts_at = starts_at - interval '1 day', expires_at = now();"
        "UPDATE obol.licenses SET next_change_at = now()"
    )

    (outcome,) = at_once(
        license,
        [lambda: ledger.deduct(db, license.key, uuid4(), amount=1)],
        lambda cursor: cursor.execute(end),
    )
    assert outcome == "insufficient_credits"


def test_the_burn_order_is_priority_then_the_earliest_end_then_age(db, owner, new_license, grant, deduct, in_hours):
    license = new_license(credits=0)
    last = grant(license, 10, priority=90, expires_at=in_hours(1))
    old, young = grant(license, 10), grant(license, 10)
    ends, first = grant(license, 10, expires_at=in_hours(9)), grant(license, 10, priority=0)
    deduct(license, 25)

    assert [(row.grant_id, row.credits_left) for row in grants.list_usable(db, license.key)] == [
        (old.grant_id, 5),
        (young.grant_id, 10),
        (last.grant_id, 10),
    ]
    everything = {row.grant_id: row.state for row in grants.list_of(owner, license.id, limit=9)}
    assert (everything[first.grant_id], everything[ends.grant_id]) == ("used_up", "used_up")
    assert licenses.find(db, license.key).balance == 25


def test_what_nobody_asks_for_is_found(db, new_license, grant, later, in_hours, sql):
    license, other = new_license(credits=5), new_license(credits=5)
    later(grant(license, 100, expires_at=in_hours(1)))
    assert grants.due(db) == [license.id]
    grants.bring_up_to_date(db, license.id)
    assert grants.due(db) == []
    assert sql("SELECT license_id::text, kind FROM obol.ledger_entries WHERE kind = 'expiry'") == [
        (str(license.id), "expiry")
    ]
    assert licenses.find(db, other.key).balance == 5


def test_nothing_is_due_where_nothing_changes(db, new_license, deduct, sql):
    license = new_license(credits=10)
    deduct(license, 1)

    assert sql("SELECT obol.bring_up_to_date(license_id) FROM obol.licenses") == [(False,)]
    assert sql(f"SELECT obol.bring_up_to_date('{uuid4()}')") == [(False,)]
