"""obol.note_deliveries and obol.undelivered_holds: which answers may have been lost on the wire."""

from uuid import uuid4

import pytest

from service.repository import credits, holds


def test_settled_keyless_and_not_noted_is_listed(db, new_license, process_hold, settle):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 7)

    (row,) = holds.undelivered(db)

    assert (row.license_id, row.hold_id, row.charge, row.model) == (license.id, hold.hold_id, 7, "a-model")
    assert row.settled_at is not None


def test_noted_it_is_listed_no_more(db, new_license, process_hold, settle):
    license, other = new_license(), new_license()
    noted = [(of.id, process_hold(of)) for of in (license, other, license)]
    missing = process_hold(license)
    for of, hold in ((license, noted[0][1]), (other, noted[1][1]), (license, noted[2][1]), (license, missing)):
        settle(of, hold, 1)

    holds.note_deliveries(db, [(license_id, hold.hold_id) for license_id, hold in noted])

    assert [row.hold_id for row in holds.undelivered(db)] == [missing.hold_id]


def test_the_same_again_keeps_the_first_time(db, new_license, process_hold, settle, sql):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)
    holds.note_deliveries(db, [(license.id, hold.hold_id)])
    first = sql("SELECT delivered_at FROM obol.holds")

    holds.note_deliveries(db, [(license.id, hold.hold_id)] * 2)

    assert sql("SELECT delivered_at FROM obol.holds") == first
    assert first != [(None,)]


def test_only_the_pair_counts(db, new_license, process_hold, settle):
    license, other = new_license(), new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    holds.note_deliveries(db, [(other.id, hold.hold_id), (license.id, uuid4())])
    holds.note_deliveries(db, [])

    assert [row.hold_id for row in holds.undelivered(db)] == [hold.hold_id]


@pytest.mark.parametrize("what", ["stored", "of a client", "open", "expired", "refunded"])
def test_what_is_not_open_to_loss_is_not_listed(db, owner, new_license, client_hold, process_hold, settle, lapse, what):
    license = new_license()
    if what == "of a client":
        holds.settle(db, license.key, client_hold(license).hold_id, 1)
    else:
        hold = process_hold(license, key="k" if what == "stored" else None)
        if what == "expired":
            lapse()
        elif what != "open":
            settle(license, hold, 1, answer=b"sealed" if what == "stored" else None)
        if what == "refunded":
            credits.refund(owner, license.id, hold.hold_id, "lost on the wire")

    assert holds.undelivered(db) == []


@pytest.mark.parametrize("answer", [None, b"sealed"], ids=["never stored", "past its time"])
def test_a_keyed_answer_that_no_retry_can_get_is_listed(db, new_license, process_hold, settle, sql, answer):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 1, answer=answer)
    sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")

    assert [row.hold_id for row in holds.undelivered(db)] == [hold.hold_id]


def test_oldest_first(db, new_license, process_hold, settle):
    license = new_license()
    opened = [process_hold(license) for _ in range(3)]
    for hold in reversed(opened):
        settle(license, hold, 1)

    assert [row.hold_id for row in holds.undelivered(db)] == [hold.hold_id for hold in reversed(opened)]
