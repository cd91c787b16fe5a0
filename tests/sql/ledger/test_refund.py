"""obol.refund: what a charge or a deduction took, given back by the operator."""

from uuid import uuid4

import pytest

from service import operator
from service.repository import grants, holds, licenses


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


# In parts, and to the grants that it came from


def test_parts_add_up_to_what_was_taken_and_no_more(new_license, deduct, refund, refused, sql):
    license = new_license(credits=100)
    cause = deduct(license, 40).deduction_id

    assert refund(license, cause, 15).balance == 75
    with refused("refund_exceeds_charge") as caught:
        refund(license, cause, 26)
    assert caught.value.extra == {"refundable": 25}
    rest = refund(license, cause)
    assert (rest.amount, rest.balance) == (25, 100)
    with refused("refund_exceeds_charge"):
        refund(license, cause, 1)
    assert sql("SELECT amount FROM obol.ledger_entries WHERE kind = 'refund' ORDER BY entry_no") == [(15,), (25,)]


@pytest.mark.parametrize("repeat", [{"refund_id": uuid4()}, {"key": "k"}])
def test_a_part_asked_for_again_is_given_back_once(new_license, deduct, refund, contents, repeat):
    license = new_license(credits=100)
    cause = deduct(license, 40).deduction_id
    first = refund(license, cause, 15, **repeat)
    refund(license, cause, 15)
    before = contents()

    assert refund(license, cause, 15, **repeat) == first
    assert contents() == before


@pytest.mark.parametrize("amount", [0, -1])
def test_a_part_is_at_least_a_credit(new_license, deduct, refund, refused, amount):
    license = new_license(credits=100)
    cause = deduct(license, 40).deduction_id

    with refused("amount_invalid"):
        refund(license, cause, amount)


def test_a_key_of_a_refund_guards_its_payload(new_license, deduct, refund, refused):
    license = new_license(credits=100)
    cause = deduct(license, 40).deduction_id
    refund(license, cause, 15, key="k")

    with refused("idempotency_key_reused"):
        refund(license, cause, 15, key="k", fingerprint=b"another")


def test_what_was_drawn_last_comes_back_first(owner, new_license, grant, deduct, refund):
    license = new_license(credits=0)
    first, second = grant(license, 30, priority=1), grant(license, 30, priority=2)
    cause = deduct(license, 40).deduction_id

    def left():
        rows = {row.grant_id: row.credits_left for row in grants.list_of(owner, license.id, limit=9)}
        return rows[first.grant_id], rows[second.grant_id]

    assert left() == (0, 20)
    refund(license, cause, 15)
    assert left() == (5, 30)
    refund(license, cause)
    assert left() == (30, 30)


def test_what_came_from_a_grant_that_has_ended_lapses_again_and_both_are_entries(
    owner, new_license, grant, deduct, refund, sql
):
    license = new_license(credits=50)
    promotion = grant(license, 30, priority=1)
    cause = deduct(license, 40).deduction_id
    grant_id = {"grant_id": str(promotion.grant_id)}
    sql(
        "UPDATE obol.grants SET voided_at = clock_timestamp() WHERE grant_id = %(grant_id)s;"
        "INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target)"
        " SELECT voided_at, 'cli:x', 'void_grant', license_id, grant_id::text FROM obol.grants"
        " WHERE grant_id = %(grant_id)s",
        grant_id,
    )

    refunded = refund(license, cause)

    assert (refunded.amount, refunded.balance, refunded.lapsed) == (40, 80, 30)
    assert sql("SELECT kind, amount, balance_after FROM obol.ledger_entries WHERE entry_no > 3 ORDER BY 3 DESC") == [
        ("refund", 40, 80),
        ("void", -30, 50),
    ]


def test_a_refund_that_would_pass_the_largest_balance_is_refused_by_name(new_license, grant, deduct, refund, refused):
    license = new_license(credits=100)
    cause = deduct(license, 40).deduction_id
    grant(license, 2**63 - 1 - 60)

    with refused("amount_invalid"):
        refund(license, cause)


def test_a_deduction_given_back_in_part_still_stands(new_license, deduct, refund):
    license = new_license(credits=100)
    first = deduct(license, 40, key="k")
    refund(license, first.deduction_id, 39)

    assert deduct(license, 40, key="k") == first
