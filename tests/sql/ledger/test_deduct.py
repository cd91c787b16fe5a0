"""obol.deduct: credits taken in one step, once, and which error wins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service import operator
from service.keys import KeyDigest
from service.repository import licenses

PAST = datetime.now(UTC) - timedelta(days=1)


def test_takes_credits_and_books_an_entry(new_license, deduct, sql):
    license = new_license(credits=1000)
    deduction_id = uuid4()

    result = deduct(license, 300, deduction_id=deduction_id, reference="job 7")

    assert (result.deduction_id, result.amount, result.balance) == (deduction_id, 300, 700)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'deduction'"
    ) == [(2, "deduction", -300, 700, str(deduction_id), "job 7")]


def test_the_same_id_again_charges_nothing(new_license, deduct, money):
    license = new_license(credits=1000)
    deduction_id = uuid4()
    first = deduct(license, 300, deduction_id=deduction_id)
    deduct(license, 1)

    assert deduct(license, 300, deduction_id=deduction_id) == first
    assert money(license) == (699, 0)


def test_the_whole_balance_can_be_taken_and_not_one_credit_more(new_license, deduct, refused):
    license = new_license(credits=10)

    with refused("insufficient_credits") as problem:
        deduct(license, 11)
    assert problem.value.extra == {"required": 11, "available": 10}
    assert deduct(license, 10).balance == 0


def test_what_is_held_cannot_be_taken(new_license, client_hold, deduct, money, refused):
    """The balance would do; without the held credits it does not, and says so."""
    license = new_license(credits=100)
    client_hold(license, 60)

    with refused("insufficient_credits") as problem:
        deduct(license, 41)
    assert problem.value.extra == {"required": 41, "available": 40}
    deduct(license, 40)
    assert money(license) == (60, 60)


@pytest.mark.parametrize(
    ("amount", "unknown", "suspended", "expired", "code"),
    [
        (0, True, True, True, "amount_invalid"),
        (-1, True, True, True, "amount_invalid"),
        (None, True, True, True, "amount_invalid"),
        (11, True, True, True, "license_invalid"),
        (11, False, True, True, "license_inactive"),
        (11, False, False, True, "license_expired"),
        (11, False, False, False, "insufficient_credits"),
    ],
)
def test_which_error_wins(owner, new_license, deduct, refused, amount, unknown, suspended, expired, code):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")
    if unknown:
        license = replace(license, key=KeyDigest(license.id, b"\0" * 32))

    with refused(code):
        deduct(license, amount)


@pytest.mark.parametrize(
    ("what", "code"), [("licenses", "license_expired"), ("license_keys", "license_invalid")], ids=["license", "key"]
)
def test_what_expires_while_the_call_waits_is_refused(new_license, deduct, overtaken, what, code):
    """The time that the guarded write compares with is from before the wait."""
    license = new_license(credits=100)

    ended = overtaken(license, lambda: deduct(license, 40), f"UPDATE obol.{what} SET expires_at = clock_timestamp()")

    assert ended == code


# The same idempotency key again


def test_a_key_replays_and_guards_its_payload(new_license, deduct, money, refused):
    license = new_license(credits=100)
    first = deduct(license, 40, key="k")

    assert deduct(license, 40, key="k") == first
    with refused("idempotency_key_reused"):
        deduct(license, 41, key="k", fingerprint=b"another")
    assert money(license) == (60, 0)


def test_a_key_goes_before_the_license_s_state(owner, new_license, deduct):
    license = new_license(credits=100)
    first = deduct(license, 100, key="k")
    licenses.set_status(owner, license.id, "suspended")

    assert deduct(license, 100, key="k") == first


@pytest.mark.parametrize("named_by", ["key", "id"])
def test_what_was_refunded_is_gone_and_not_paid_for_again(owner, new_license, deduct, money, refused, named_by):
    license = new_license(credits=100)
    first = deduct(license, 40, key="k")
    operator.refund(owner, license.id, first.deduction_id, reason="sorry")

    with refused("answer_gone") as problem:
        deduct(license, 40, key="k", deduction_id=first.deduction_id if named_by == "id" else None)
    assert "refunded" in str(problem.value)
    assert money(license) == (100, 0)


def test_what_was_refunded_still_guards_its_payload(owner, new_license, deduct, refused):
    license = new_license(credits=100)
    operator.refund(owner, license.id, deduct(license, 40, key="k").deduction_id, reason="sorry")

    with refused("idempotency_key_reused"):
        deduct(license, 40, key="k", fingerprint=b"another")


def test_a_refused_call_leaves_its_key_free(new_license, deduct, grant, refused):
    license = new_license(credits=10)
    with refused("insufficient_credits"):
        deduct(license, 40, key="k")
    grant(license, 100)

    assert deduct(license, 40, key="k").balance == 70


def test_licenses_do_not_share_keys(new_license, deduct):
    one, other = new_license(credits=10), new_license(credits=20)

    assert deduct(one, 1, key="k").balance == 9
    assert deduct(other, 1, key="k").balance == 19
