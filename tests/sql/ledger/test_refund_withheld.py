"""obol.refund_withheld: the charge for an answer that a process withheld, given back by the service."""

from uuid import uuid4

import pytest

from service import operator
from service.repository import holds, ledger


@pytest.fixture
def refund_withheld(db, process_id):
    """`refund_withheld(license, hold_id)`: what `process_id` gives back, or None."""

    def give_back(license, hold_id):
        return ledger.refund_withheld(db, license.id, hold_id, process_id=process_id)

    return give_back


def test_a_withheld_answer_is_paid_back(new_license, process_hold, settle, refund_withheld, sql):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)

    assert refund_withheld(license, hold.hold_id) == (40, 100)
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "answer withheld")]


def test_paid_back_once(new_license, process_hold, settle, refund_withheld, contents):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    first = refund_withheld(license, hold.hold_id)
    before = contents()

    assert refund_withheld(license, hold.hold_id) == first
    assert contents() == before


def test_not_while_a_retry_can_get_the_answer(new_license, process_hold, settle, refund_withheld, contents):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40, answer=b"sealed")
    before = contents()

    assert refund_withheld(license, hold.hold_id) is None
    assert contents() == before
    assert bytes(process_hold(license, key="k").answer) == b"sealed"


def test_an_answer_past_its_time_to_live_is_no_answer_to_a_retry(new_license, process_hold, settle, refund_withheld):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40, answer=b"sealed", answer_ttl_s=0)

    assert refund_withheld(license, hold.hold_id).balance == 100
    assert process_hold(license, key="k").outcome == "opened"


def test_without_a_stored_answer_the_key_is_freed_for_a_new_try(new_license, process_hold, settle, refund_withheld):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    settle(license, hold, 40)
    refund_withheld(license, hold.hold_id)

    again = process_hold(license, key="k")

    assert (again.outcome, again.available) == ("opened", 0)
    assert settle(license, again, 10).balance == 90


def test_not_for_an_answer_that_was_delivered(
    db, process_id, new_license, process_hold, settle, refund_withheld, contents
):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    holds.note_deliveries(db, license.id, [hold.hold_id], process_id=process_id)
    before = contents()

    assert refund_withheld(license, hold.hold_id) is None
    assert contents() == before


def test_not_for_an_answer_of_another_process(db, new_license, process_hold, settle, contents):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    before = contents()

    assert ledger.refund_withheld(db, license.id, hold.hold_id, process_id=uuid4()) is None
    assert contents() == before


def test_not_for_what_a_client_was_charged(db, new_license, client_hold, deduct, refund_withheld, contents):
    license = new_license(credits=100)
    hold = client_hold(license)
    holds.settle(db, license.key, hold.hold_id, amount=40)
    deduction = deduct(license, 10)
    before = contents()

    assert refund_withheld(license, hold.hold_id) is None
    assert refund_withheld(license, deduction.deduction_id) is None
    assert contents() == before


@pytest.mark.parametrize("state", ["held", "released", "expired", "unknown"])
def test_where_nothing_was_charged_there_is_nothing_to_do(
    db, new_license, process_hold, process_id, lapse, refund_withheld, contents, state
):
    license = new_license()
    hold_id = process_hold(license, key="k").hold_id
    if state == "released":
        holds.release(db, license.key, hold_id, process_id=process_id)
    elif state == "expired":
        lapse()
    elif state == "unknown":
        hold_id = uuid4()
    before = contents()

    assert refund_withheld(license, hold_id) is None
    assert contents() == before


def test_the_operator_s_refund_after_it_gives_the_same(owner, new_license, process_hold, settle, refund_withheld):
    license = new_license(credits=100)
    hold = process_hold(license)
    settle(license, hold, 40)
    first = refund_withheld(license, hold.hold_id)

    again = operator.refund(owner, license.id, hold.hold_id, reason="sorry")
    assert (again.amount, again.balance) == first
