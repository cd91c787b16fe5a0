"""obol.open_hold: the same idempotency key again, of clients' holds and of generations."""

from dataclasses import replace

import pytest

from service import operator
from service.keys import KeyDigest
from service.repository import holds, licenses, processes

# A client's holds


def test_a_client_s_key_replays_the_hold_as_it_was(new_license, client_hold, money):
    license = new_license(credits=1000)
    first = client_hold(license, 300, key="k")
    client_hold(license, 50)

    again = client_hold(license, 300, key="k")

    assert again.outcome == "replayed"
    assert again[1:] == first[1:]
    assert money(license) == (1000, 350)


@pytest.mark.parametrize("end", ["settled", "released", "expired", "overdue"])
def test_a_client_s_key_replays_a_hold_that_has_ended(db, new_license, client_hold, overdue, reap, sql, end):
    license = new_license(credits=1000)
    first = client_hold(license, 300, key="k")
    if end == "settled":
        holds.settle(db, license.key, first.hold_id, amount=200)
    elif end == "released":
        holds.release(db, license.key, first.hold_id)
    else:
        overdue(first)
        assert end == "overdue" or reap() == 1

    again = client_hold(license, 300, key="k")

    assert (again.outcome, again.hold_id, again.amount, again.available) == ("replayed", first.hold_id, 300, 700)
    # Nobody has noticed yet that its time is over: so or so it can no longer be settled.
    assert again.state == ("expired" if end == "overdue" else end)
    assert sql("SELECT count(*) FROM obol.holds") == [(1,)]


def test_a_client_s_key_replays_after_suspension_and_expiry(owner, new_license, client_hold, sql):
    license = new_license()
    first = client_hold(license, key="k")
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = clock_timestamp()")

    assert client_hold(license, key="k").hold_id == first.hold_id


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_a_key_guards_its_payload_before_the_license_s_state(request, owner, new_license, refused, kind):
    open_hold = request.getfixturevalue(kind)
    license = new_license()
    open_hold(license, key="k")
    licenses.set_status(owner, license.id, "suspended")

    with refused("idempotency_key_reused"):
        open_hold(license, key="k", fingerprint=b"another")


def test_a_key_of_a_deduction_opens_no_hold(new_license, client_hold, process_hold, deduct, refused):
    license = new_license()
    deduct(license, 1, key="k")

    with refused("idempotency_key_reused"):
        client_hold(license, key="k")
    with refused("idempotency_key_reused"):
        process_hold(license, key="k")


def test_a_replay_needs_a_key_that_is_good(new_license, client_hold, refused):
    license = new_license()
    client_hold(license, key="k")

    with refused("license_invalid"):
        client_hold(replace(license, key=KeyDigest(license.id, b"\0" * 32)), key="k")


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_a_refused_open_leaves_its_key_free(request, new_license, grant, refused, kind):
    open_hold = request.getfixturevalue(kind)
    license = new_license(credits=10)
    with refused("insufficient_credits"):
        open_hold(license, 40, key="k")
    grant(license, 100)

    assert open_hold(license, 40, key="k").outcome == "opened"


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_without_a_key_the_same_content_is_a_new_hold(request, new_license, kind):
    open_hold = request.getfixturevalue(kind)
    license = new_license()

    assert open_hold(license).hold_id != open_hold(license).hold_id


def test_licenses_do_not_share_keys(new_license, process_hold):
    one, other = new_license(), new_license()

    assert process_hold(one, key="k").outcome == "opened"
    assert process_hold(other, key="k").outcome == "opened"


# Generations


def test_a_running_generation_is_in_progress(new_license, process_hold, refused):
    license = new_license()
    process_hold(license, key="k")

    with refused("idempotency_in_progress"):
        process_hold(license, key="k")


def test_in_progress_goes_before_the_license_s_state(owner, new_license, process_hold, refused):
    license = new_license()
    process_hold(license, key="k")
    licenses.set_status(owner, license.id, "suspended")

    with refused("idempotency_in_progress"):
        process_hold(license, key="k")


def test_a_settled_generation_is_replayed_with_its_answer(new_license, process_hold, settle, contents):
    license = new_license(credits=1000)
    first = process_hold(license, 300, key="k")
    settle(license, first, 200, answer=b"sealed")
    process_hold(license, 50)
    before = contents()

    again = process_hold(license, 300, key="k")

    assert again.outcome == "replayed"
    assert (again.hold_id, again.amount, again.available) == (first.hold_id, 300, 700)
    assert (again.state, again.charge, again.balance, bytes(again.answer)) == ("settled", 200, 800, b"sealed")
    assert contents() == before


def test_what_was_paid_for_is_replayed_whatever_has_become_of_the_license(
    owner, new_license, process_hold, settle, sql
):
    license = new_license(credits=100)
    settle(license, process_hold(license, 100, key="k"), 100, answer=b"sealed")
    licenses.set_status(owner, license.id, "suspended")
    sql("UPDATE obol.licenses SET expires_at = clock_timestamp()")

    assert bytes(process_hold(license, 100, key="k", price=None).answer) == b"sealed"


@pytest.mark.parametrize("why", ["not stored", "expired", "purged", "refunded"])
def test_an_answer_that_is_gone_is_not_charged_again(db, owner, new_license, process_hold, settle, refused, sql, why):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 1, answer=None if why == "not stored" else b"sealed")
    if why in ("expired", "purged"):
        sql("UPDATE obol.idempotency_keys SET answer_expires_at = clock_timestamp()")
    if why == "purged":
        assert processes.purge(db) == 1
    if why == "refunded":
        operator.refund(owner, license.id, hold.hold_id, reason="sorry")

    with refused("answer_gone"):
        process_hold(license, key="k")


def test_an_answer_that_is_gone_still_guards_its_payload(new_license, process_hold, settle, refused):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1)

    with refused("idempotency_key_reused"):
        process_hold(license, key="k", fingerprint=b"another")


@pytest.mark.parametrize("end", ["released", "expired"])
def test_a_key_is_free_again_when_its_generation_ended_without_a_charge(
    db, new_license, process_id, process_hold, lapse, end
):
    license = new_license()
    first = process_hold(license, key="k")
    if end == "released":
        holds.release(db, license.key, first.hold_id, process_id=process_id)
    else:
        lapse()

    second = process_hold(license, key="k", fingerprint=b"another")

    assert (second.outcome, second.hold_id != first.hold_id) == ("opened", True)


def test_a_key_that_was_taken_over_stores_the_second_answer(db, new_license, process_id, process_hold, settle):
    license = new_license()
    first = process_hold(license, key="k")
    holds.release(db, license.key, first.hold_id, process_id=process_id)
    second = process_hold(license, key="k")
    settle(license, second, 5, answer=b"second")

    again = process_hold(license, key="k")

    assert (again.hold_id, again.charge, bytes(again.answer)) == (second.hold_id, 5, b"second")


def test_a_freed_key_can_be_taken_over_by_a_deduction(db, new_license, process_id, process_hold, deduct, refused):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    holds.release(db, license.key, hold.hold_id, process_id=process_id)

    assert deduct(license, 1, key="k").balance == 99
    with refused("idempotency_key_reused"):
        process_hold(license, key="k")
