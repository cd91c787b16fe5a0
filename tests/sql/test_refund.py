"""obol.refund: by the operator, and of an answer that the service withheld."""

from uuid import uuid4

import pytest

from service.repository import credits, holds, licenses


def deduct(db, license, amount, deduction_id=None):
    return credits.deduct(db, license.key, deduction_id or uuid4(), amount, None, b"one", None)


# By the operator


def test_gives_back_what_a_deduction_took(db, owner, new_license, sql):
    license = new_license(credits=100)
    deduction = deduct(db, license, 40)

    result = credits.refund(owner, license.id, deduction.deduction_id, "sorry")

    assert (result.amount, result.balance) == (40, 100)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'refund'"
    ) == [(3, "refund", 40, 100, str(deduction.deduction_id), "sorry")]


def test_gives_back_what_a_hold_was_settled_at(db, owner, new_license, client_hold, state_of):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    holds.settle(db, license.key, hold.hold_id, 40)

    assert credits.refund(owner, license.id, hold.hold_id, "sorry").balance == 100
    assert state_of(hold) == "settled"


def test_gives_back_what_was_charged_and_not_what_was_short(owner, new_license, process_hold, settle):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    settle(license, hold, 150)

    assert tuple(credits.refund(owner, license.id, hold.hold_id, "sorry")) == (100, 100)


def test_a_charge_of_nothing_is_refunded_as_nothing(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    holds.settle(db, license.key, hold.hold_id, 0)

    assert tuple(credits.refund(owner, license.id, hold.hold_id, "sorry")) == (0, 100)


def test_the_same_again_gives_the_first_result(db, owner, new_license, contents):
    license = new_license(credits=100)
    deduction = deduct(db, license, 40)
    first = credits.refund(owner, license.id, deduction.deduction_id, "sorry")
    deduct(db, license, 1)
    before = contents()

    assert credits.refund(owner, license.id, deduction.deduction_id, "sorry again") == first
    assert contents() == before


def test_open_holds_stay_as_they_are(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    deduction = deduct(db, license, 40)
    client_hold(license, 50)
    credits.refund(owner, license.id, deduction.deduction_id, "sorry")

    found = licenses.find(db, license.key)
    assert (found.balance, found.held) == (100, 50)


def test_a_suspended_license_is_refunded_too(db, owner, new_license):
    license = new_license(credits=100)
    deduction = deduct(db, license, 40)
    licenses.set_status(owner, license.id, "suspended")

    assert credits.refund(owner, license.id, deduction.deduction_id, "sorry").balance == 100


@pytest.mark.parametrize("what", ["nothing", "a grant", "an open hold", "a released hold", "another license's"])
def test_what_took_nothing_cannot_be_refunded(db, owner, new_license, client_hold, refused, what):
    license, other = new_license(), new_license()
    cause_id = {"nothing": uuid4(), "a grant": license.id}.get(what)
    if what == "another license's":
        cause_id = deduct(db, other, 40).deduction_id
    elif cause_id is None:
        cause_id = client_hold(license).hold_id
    if what == "a released hold":
        holds.release(db, license.key, cause_id)

    with refused("hold_not_found"):
        credits.refund(owner, license.id, cause_id, "sorry")


def test_a_refund_leaves_the_key_in_force(owner, new_license, process_hold, settle, refused):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 7, answer=b"sealed")
    credits.refund(owner, license.id, hold.hold_id, "sorry")

    with refused("answer_gone"):
        process_hold(license, key="k")


# Of a withheld answer, by the service


def test_a_withheld_answer_is_paid_back(db, new_license, process_hold, process_id, settle, sql):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)

    (result,) = credits.refund_withheld(db, license.id, hold.hold_id, process_id)

    assert (result.amount, result.balance) == (40, 100)
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "answer withheld")]


def test_paid_back_once(db, new_license, process_hold, process_id, settle, contents):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    first = credits.refund_withheld(db, license.id, hold.hold_id, process_id)
    before = contents()

    assert credits.refund_withheld(db, license.id, hold.hold_id, process_id) == first
    assert contents() == before


def test_not_while_a_retry_can_get_the_answer(db, new_license, process_hold, process_id, settle, contents):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40, answer=b"sealed")
    before = contents()

    assert credits.refund_withheld(db, license.id, hold.hold_id, process_id) == []
    assert contents() == before
    assert bytes(process_hold(license, key="k").answer) == b"sealed"


def test_an_answer_past_its_time_to_live_is_no_answer_to_a_retry(db, new_license, process_hold, process_id, settle):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40, answer=b"sealed", answer_ttl_s=0)

    (result,) = credits.refund_withheld(db, license.id, hold.hold_id, process_id)

    assert result.balance == 100
    assert process_hold(license, key="k").outcome == "opened"


def test_without_a_stored_answer_the_key_is_freed_for_a_new_try(db, new_license, process_hold, process_id, settle):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40)
    credits.refund_withheld(db, license.id, hold.hold_id, process_id)

    again = process_hold(license, key="k")

    assert (again.outcome, again.available) == ("opened", 0)
    assert settle(license, again, 10).balance == 90


@pytest.mark.parametrize("state", ["held", "released", "expired", "unknown"])
def test_where_nothing_was_charged_there_is_nothing_to_do(
    db, new_license, process_hold, process_id, lapse, contents, state
):
    license = new_license()
    hold_id = process_hold(license, key="k").hold_id
    if state == "released":
        holds.release(db, license.key, hold_id, process_id)
    elif state == "expired":
        lapse()
    elif state == "unknown":
        hold_id = uuid4()
    before = contents()

    assert credits.refund_withheld(db, license.id, hold_id, process_id) == []
    assert contents() == before


def test_the_operator_s_refund_after_it_gives_the_same(db, owner, new_license, process_hold, process_id, settle):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    (first,) = credits.refund_withheld(db, license.id, hold.hold_id, process_id)

    assert credits.refund(owner, license.id, hold.hold_id, "sorry") == first
