"""`obol grants`, `obol void`, and grants for a time; refunds in parts."""

from uuid import uuid4

import pytest

from service.repository import holds, ledger


def grant(obol, license, *arguments):
    return obol("grant", license.id, *arguments, "--json").json


def test_grants_are_listed_with_what_is_left_of_them(obol, new_license):
    license = new_license(credits=10)
    promotion = grant(obol, license, 500, "--expires", "2999-01-01", "--priority", 5, "--reason", "promotion")
    coming = obol("grant", license.id, 70, "--starts", "2998-01-01")

    assert (promotion["state"], promotion["balance"], promotion["left"]) == ("active", 510, 500)
    assert "Granted 70 credits from 2998-01-01T00:00:00Z on; until then 510." in coming.out
    listed = obol("grants", license.id, "--json").json
    assert [(row["amount"], row["state"], row["reason"]) for row in listed] == [
        (70, "scheduled", "purchase"), (500, "active", "promotion"), (10, "active", "purchase"),
    ]  # fmt: skip
    assert listed[1] | {"balance": 510} == promotion
    assert "promotion" in obol("grants", license.id).out
    assert "No grants." in obol("grants", new_license(credits=0).id).out


def test_a_void_says_what_was_taken(obol, new_license):
    license = new_license(credits=0)
    promotion = grant(obol, license, 500)

    voided = obol("void", license.id, promotion["id"])
    assert "500 of 500 credits were taken; the balance is 0." in voided.out
    assert obol("void", license.id, promotion["id"], "--json").json["state"] == "voided"
    unknown = obol("void", license.id, license.id)
    assert (unknown.code, "has no grant" in unknown.err) == (1, True)


@pytest.mark.parametrize(
    "arguments", [("--expires", "2020-01-01"), ("--starts", "2999-01-02", "--expires", "2999-01-01")]
)
def test_a_grant_that_is_over_before_it_begins_is_refused(obol, new_license, arguments):
    license = new_license(credits=0)
    refused = obol("grant", license.id, 5, *arguments)

    assert (refused.code, "must expire later than now" in refused.err) == (1, True)
    assert obol("grants", license.id, "--json").json == []


@pytest.mark.parametrize("priority", ["-1", "101", "high"])
def test_a_priority_that_is_none(obol, new_license, priority):
    assert obol("grant", new_license().id, 5, "--priority", priority).code == 2


def test_a_void_says_what_is_held(obol, new_license, db):
    license = new_license(credits=0)
    promotion = grant(obol, license, 500)
    holds.open_for_client(db, license.key, uuid4(), amount=30, expires_in_s=60)

    assert "30 more are held" in obol("void", license.id, promotion["id"]).out


def test_a_part_is_refunded_and_what_came_from_an_ended_grant_lapses(obol, new_license, db):
    license = new_license(credits=100)
    promotion = grant(obol, license, 20, "--priority", 0)
    taken = ledger.deduct(db, license.key, uuid4(), amount=50)
    obol("void", license.id, grant(obol, license, 1)["id"])

    part = obol("refund", license.id, taken.deduction_id, "--amount", 30, "--idempotency-key", "k", "--json").json
    assert (part["amount"], part["lapsed"], part["balance"]) == (30, 0, 100)
    assert obol("void", license.id, promotion["id"]).code == 1
    much = obol("refund", license.id, taken.deduction_id, "--amount", 21)
    assert (much.code, "20 of the charge are left" in much.err) == (1, True)


def test_what_lapses_of_a_refund_is_said(obol, new_license, db):
    license = new_license(credits=100)
    promotion = grant(obol, license, 20, "--priority", 0)
    taken = ledger.deduct(db, license.key, uuid4(), amount=10)
    obol("void", license.id, promotion["id"])

    assert "10 of them came from grants that have ended" in obol("refund", license.id, taken.deduction_id).out
    assert obol("license", "show", license.id, "--json").json["balance"] == 100
