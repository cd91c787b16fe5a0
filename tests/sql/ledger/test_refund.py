"""obol.refund: what a charge or a deduction took, given back by the operator."""

from uuid import uuid4

import pytest

from service import operator
from service.repository import holds, licenses


def test_gives_back_what_a_deduction_took(owner, new_license, deduct, sql):
    license = new_license(credits=100)
    deduction = deduct(license, 40)

    result = operator.refund(owner, license.id, deduction.deduction_id, reason="sorry")

    assert (result.amount, result.balance) == (40, 100)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'refund'"
    ) == [(3, "refund", 40, 100, str(deduction.deduction_id), "sorry")]


def test_gives_back_what_a_hold_was_settled_at(db, owner, new_license, client_hold, state_of):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    holds.settle(db, license.key, hold.hold_id, amount=40)

    assert operator.refund(owner, license.id, hold.hold_id, reason="sorry").balance == 100
    assert state_of(hold) == "settled"


def test_gives_back_what_was_charged_and_not_what_was_short(owner, new_license, process_hold, settle):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    settle(license, hold, 150)

    refunded = operator.refund(owner, license.id, hold.hold_id, reason="sorry")
    assert (refunded.amount, refunded.balance, refunded.lapsed) == (100, 100, 0)


def test_a_charge_of_nothing_is_refunded_as_nothing(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    holds.settle(db, license.key, hold.hold_id, amount=0)

    refunded = operator.refund(owner, license.id, hold.hold_id, reason="sorry")
    assert (refunded.amount, refunded.balance, refunded.lapsed) == (0, 100, 0)


def test_the_same_again_gives_the_first_result(owner, new_license, deduct, contents):
    license = new_license(credits=100)
    deduction = deduct(license, 40)
    first = operator.refund(owner, license.id, deduction.deduction_id, reason="sorry")
    deduct(license, 1)
    before = contents()

    assert operator.refund(owner, license.id, deduction.deduction_id, reason="sorry again") == first
    assert contents() == before


def test_open_holds_stay_as_they_are(owner, new_license, client_hold, deduct, money):
    license = new_license(credits=100)
    deduction = deduct(license, 40)
    client_hold(license, 50)
    operator.refund(owner, license.id, deduction.deduction_id, reason="sorry")

    assert money(license) == (100, 50)


def test_a_suspended_license_is_refunded_too(owner, new_license, deduct):
    license = new_license(credits=100)
    deduction = deduct(license, 40)
    licenses.set_status(owner, license.id, "suspended")

    assert operator.refund(owner, license.id, deduction.deduction_id, reason="sorry").balance == 100


@pytest.mark.parametrize("what", ["nothing", "a grant", "an open hold", "a released hold", "another license's"])
def test_what_took_nothing_cannot_be_refunded(db, owner, new_license, client_hold, deduct, refused, what):
    license, other = new_license(), new_license()
    cause_id = {"nothing": uuid4(), "a grant": license.id}.get(what)
    if what == "another license's":
        cause_id = deduct(other, 40).deduction_id
    elif cause_id is None:
        cause_id = client_hold(license).hold_id
    if what == "a released hold":
        holds.release(db, license.key, cause_id)

    with refused("hold_not_found"):
        operator.refund(owner, license.id, cause_id, reason="sorry")


def test_a_refund_leaves_the_key_in_force(owner, new_license, process_hold, settle, refused):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 7, answer=b"sealed")
    operator.refund(owner, license.id, hold.hold_id, reason="sorry")

    with refused("answer_gone"):
        process_hold(license, key="k")
