"""obol.note_deliveries and obol.undelivered_holds: which answers may have been lost on the wire."""

from uuid import uuid4

import pytest

from service import operator
from service.repository import holds


@pytest.fixture
def undelivered(owner):
    """`undelivered()`: the list, for the operator."""
    return lambda: holds.every(owner, "undelivered")


def test_settled_keyless_and_not_noted_is_listed(new_license, process_hold, settle, undelivered):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 7)

    (row,) = undelivered()

    assert (row.license_id, row.hold_id, row.amount, row.model) == (license.id, hold.hold_id, 7, "a-model")
    assert row.at is not None


def test_noted_it_is_listed_no_more(db, new_license, process_id, process_hold, settle, undelivered):
    license, other = new_license(), new_license()
    one, two, missing = (process_hold(license) for _ in range(3))
    of_other = process_hold(other)
    for of, hold in ((license, one), (license, two), (license, missing), (other, of_other)):
        settle(of, hold, 1)

    holds.note_deliveries(db, license.id, [one.hold_id, two.hold_id], process_id=process_id)

    assert {row.hold_id for row in undelivered()} == {missing.hold_id, of_other.hold_id}


def test_the_same_again_keeps_the_first_time(db, new_license, process_id, process_hold, settle, sql):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)
    holds.note_deliveries(db, license.id, [hold.hold_id], process_id=process_id)
    first = sql("SELECT delivered_at FROM obol.holds")

    holds.note_deliveries(db, license.id, [hold.hold_id] * 2, process_id=process_id)

    assert sql("SELECT delivered_at FROM obol.holds") == first
    assert first != [(None,)]


def test_nobody_but_the_process_that_opened_a_hold_takes_it_off_the_list(
    db, new_license, process_hold, settle, undelivered
):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    holds.note_deliveries(db, license.id, [hold.hold_id], process_id=uuid4())

    assert [row.hold_id for row in undelivered()] == [hold.hold_id]


def test_only_license_and_hold_together_count(db, new_license, process_id, process_hold, settle, undelivered):
    license, other = new_license(), new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    holds.note_deliveries(db, other.id, [hold.hold_id], process_id=process_id)
    holds.note_deliveries(db, license.id, [uuid4()], process_id=process_id)
    holds.note_deliveries(db, license.id, [], process_id=process_id)

    assert [row.hold_id for row in undelivered()] == [hold.hold_id]


@pytest.mark.parametrize("end", ["held", "released", "expired"])
def test_what_was_not_paid_for_cannot_be_noted(
    db, new_license, process_id, process_hold, lapse, state_of, contents, end
):
    license = new_license()
    hold = process_hold(license)
    if end == "released":
        holds.release(db, license.key, hold.hold_id, process_id=process_id)
    elif end == "expired":
        lapse()
    assert state_of(hold) == end
    before = contents()

    holds.note_deliveries(db, license.id, [hold.hold_id], process_id=process_id)

    assert contents() == before


@pytest.mark.parametrize("what", ["stored", "of a client", "open", "expired", "refunded"])
def test_what_is_not_open_to_loss_is_not_listed(
    db, owner, new_license, client_hold, process_hold, settle, lapse, undelivered, what
):
    license = new_license()
    if what == "of a client":
        holds.settle(db, license.key, client_hold(license).hold_id, amount=1)
    else:
        hold = process_hold(license, key="k" if what == "stored" else None)
        if what == "expired":
            lapse()
        elif what != "open":
            settle(license, hold, 1, answer=b"sealed" if what == "stored" else None)
        if what == "refunded":
            operator.refund(owner, license.id, hold.hold_id, reason="lost on the wire")

    assert undelivered() == []


@pytest.mark.parametrize("answer", [None, b"sealed"], ids=["never stored", "past its time"])
def test_a_keyed_answer_that_no_retry_can_get_is_listed(new_license, process_hold, settle, sql, undelivered, answer):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 1, answer=answer)
    sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")

    assert [row.hold_id for row in undelivered()] == [hold.hold_id]


def test_oldest_first(new_license, process_hold, settle, undelivered):
    license = new_license()
    opened = [process_hold(license) for _ in range(3)]
    for hold in reversed(opened):
        settle(license, hold, 1)

    assert [row.hold_id for row in undelivered()] == [hold.hold_id for hold in reversed(opened)]
