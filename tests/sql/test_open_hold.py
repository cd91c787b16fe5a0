"""obol.open_hold: admission for clients and for generations, replay, and which error wins."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import LicenseKey
from service.repository import credits, holds, licenses, processes

PAST = datetime.now(UTC) - timedelta(days=1)
FREE = {"input": 0, "output": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}


def other_key(license):
    """A key that does not belong to the license."""
    return license.__class__(license.id, "", license.key._replace(digest=b"\0" * 32))


# What is opened


def test_a_client_sets_credits_aside_for_a_time(db, new_license, client_hold):
    license = new_license(credits=1000)
    hold_id = uuid4()

    hold = client_hold(license, 300, hold_id=hold_id, expires_in_s=60)

    assert (hold.outcome, hold.hold_id, hold.amount, hold.available) == ("opened", hold_id, 300, 700)
    assert timedelta(seconds=50) < hold.expires_at - datetime.now(UTC) < timedelta(seconds=61)
    found = licenses.find(db, license.key)
    assert (found.balance, found.held, found.available) == (1000, 300, 700)


def test_a_process_s_hold_has_no_time_of_its_own(new_license, process_hold):
    hold = process_hold(new_license(credits=1000), 300)

    assert (hold.outcome, hold.amount, hold.available, hold.expires_at) == ("opened", 300, 700, None)
    assert (hold.charge, hold.balance, hold.answer) == (None, None, None)


def test_a_hold_freezes_model_and_price_and_keeps_its_reference(new_license, client_hold, process_hold, sql):
    license = new_license()
    client_hold(license, 1, reference="job 7")
    process_hold(license, 2, price={"input": 3})

    assert sql("SELECT reference, model, price FROM obol.holds ORDER BY amount") == [
        ("job 7", None, None),
        (None, "a-model", {"input": 3}),
    ]


def test_opening_books_nothing(new_license, client_hold, process_hold, sql):
    license = new_license(credits=1000)
    client_hold(license, 10)
    process_hold(license, 10)

    assert sql("SELECT kind FROM obol.ledger_entries") == [("grant",)]


def test_holds_add_up_and_cannot_pass_the_balance(new_license, client_hold, process_hold, refused):
    license = new_license(credits=100)
    client_hold(license, 60)
    process_hold(license, 30)

    with refused("insufficient_credits") as problem:
        client_hold(license, 11)
    assert problem.value.extra == {"required": 11, "available": 10}
    assert client_hold(license, 10).available == 0


def test_a_generation_takes_what_is_available_when_that_is_enough_for_the_least(new_license, process_hold, client_hold):
    license = new_license(credits=500)
    client_hold(license, 100)

    hold = process_hold(license, 1000, least=400)

    assert (hold.amount, hold.available) == (400, 0)


def test_below_the_least_it_is_refused(new_license, process_hold, refused):
    license = new_license(credits=399)

    with refused("insufficient_credits") as problem:
        process_hold(license, 1000, least=400)
    assert problem.value.extra == {"required": 400, "available": 399}


def test_a_generation_that_is_affordable_in_full_is_not_lowered(new_license, process_hold):
    assert process_hold(new_license(credits=1000), 1000, least=1).amount == 1000


def test_a_client_s_hold_is_never_lowered(new_license, client_hold, refused):
    license = new_license(credits=99)

    with refused("insufficient_credits"):
        client_hold(license, 100)


def test_a_free_model_is_held_at_nothing_even_without_credits(new_license, process_hold):
    hold = process_hold(new_license(credits=0), 0, price=FREE)

    assert (hold.outcome, hold.amount) == ("opened", 0)


# Which error wins


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
def test_which_error_wins_for_a_client(
    owner, new_license, client_hold, refused, amount, unknown, suspended, expired, code
):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    with refused(code):
        client_hold(other_key(license) if unknown else license, amount)


@pytest.mark.parametrize(
    ("amount", "unknown", "suspended", "expired", "priced", "code"),
    [
        (-1, True, True, True, False, "amount_invalid"),
        (11, True, True, True, False, "license_invalid"),
        (11, False, True, True, False, "license_inactive"),
        (11, False, False, True, False, "license_expired"),
        (11, False, False, False, False, "model_not_priced"),
        (11, False, False, False, True, "insufficient_credits"),
    ],
)
def test_which_error_wins_for_a_generation(
    owner, new_license, process_hold, refused, sql, amount, unknown, suspended, expired, priced, code
):
    license = new_license(credits=10, expires_at=PAST if expired else None)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    with refused(code):
        process_hold(other_key(license) if unknown else license, amount, **({} if priced else {"price": None}))


def test_an_unpriced_model_is_refused_though_the_credits_are_there(new_license, process_hold, refused):
    license = new_license(credits=1000)

    with refused("model_not_priced") as problem:
        process_hold(license, 1, price=None)
    assert "a-model" in problem.value.detail


def test_the_key_of_another_license_opens_nothing(new_license, process_hold, client_hold, refused):
    license, other = new_license(), new_license()
    crossed = other.__class__(license.id, "", LicenseKey(license.id, other.key.digest))

    with refused("license_invalid"):
        client_hold(crossed)
    with refused("license_invalid"):
        process_hold(crossed)


def test_a_key_that_was_rotated_away_opens_nothing(owner, new_license, client_hold, process_hold, refused):
    license = new_license()
    licenses.rotate_key(owner, LicenseKey(license.id, b"n" * 32), 0)

    with refused("license_invalid"):
        client_hold(license)
    with refused("license_invalid"):
        process_hold(license)


# The same id again


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_the_same_id_again_gives_the_same_hold(request, db, new_license, kind):
    open_hold = request.getfixturevalue(kind)
    license, hold_id = new_license(credits=1000), uuid4()
    first = open_hold(license, 300, hold_id=hold_id)
    open_hold(license, 1)

    assert open_hold(license, 300, hold_id=hold_id) == first
    assert licenses.find(db, license.key).held == 301


def test_the_same_id_again_with_its_key_is_opened_not_in_progress(new_license, process_hold):
    license, hold_id = new_license(), uuid4()
    first = process_hold(license, hold_id=hold_id, key="k")

    assert process_hold(license, hold_id=hold_id, key="k") == first


def test_the_same_id_again_gives_the_lowered_amount(new_license, process_hold):
    license, hold_id = new_license(credits=50), uuid4()
    first = process_hold(license, 100, least=10, hold_id=hold_id)

    assert process_hold(license, 100, least=10, hold_id=hold_id) == first
    assert first.amount == 50


def test_the_same_id_again_after_a_suspension_gives_the_same_hold(owner, new_license, process_hold):
    license, hold_id = new_license(), uuid4()
    first = process_hold(license, hold_id=hold_id)
    licenses.set_status(owner, license.id, "suspended")

    assert process_hold(license, hold_id=hold_id) == first


@pytest.mark.parametrize("end", ["settled", "released", "expired"])
def test_an_id_that_has_ended_opens_nothing(
    db, new_license, process_id, process_hold, settle, lapse, state_of, refused, end
):
    license = new_license()
    hold = process_hold(license)
    if end == "settled":
        settle(license, hold, 1)
    elif end == "released":
        holds.release(db, license.key, hold.hold_id, process_id)
    else:
        lapse()

    assert state_of(hold) == end
    with refused("hold_not_open"):
        process_hold(license, hold_id=hold.hold_id)


# The same idempotency key again: a client's holds


def test_a_client_s_key_replays_the_hold_as_it_was(db, owner, new_license, client_hold):
    license = new_license(credits=1000)
    first = client_hold(license, 300, key="k")
    client_hold(license, 50)

    again = client_hold(license, 300, key="k")

    assert again.outcome == "replayed"
    assert again[1:] == first[1:]
    assert licenses.find(db, license.key).held == 350


@pytest.mark.parametrize("end", ["settled", "released", "expired"])
def test_a_client_s_key_replays_a_hold_that_has_ended(db, new_license, client_hold, overdue, sql, end):
    license = new_license(credits=1000)
    first = client_hold(license, 300, key="k")
    if end == "settled":
        holds.settle(db, license.key, first.hold_id, 200)
    elif end == "released":
        holds.release(db, license.key, first.hold_id)
    else:
        overdue(first)
        assert holds.release_expired(db) == 1

    again = client_hold(license, 300, key="k")

    assert (again.outcome, again.hold_id, again.amount, again.available) == ("replayed", first.hold_id, 300, 700)
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


def test_a_key_of_a_deduction_opens_no_hold(db, new_license, client_hold, process_hold, refused):
    license = new_license()
    credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None)

    with refused("idempotency_key_reused"):
        client_hold(license, key="k")
    with refused("idempotency_key_reused"):
        process_hold(license, key="k")


def test_a_replay_needs_a_key_that_is_good(new_license, client_hold, refused):
    license = new_license()
    client_hold(license, key="k")

    with refused("license_invalid"):
        client_hold(other_key(license), key="k")


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_a_refused_open_leaves_its_key_free(request, owner, new_license, refused, kind):
    open_hold = request.getfixturevalue(kind)
    license = new_license(credits=10)
    with refused("insufficient_credits"):
        open_hold(license, 40, key="k")
    credits.grant(owner, license.id, uuid4(), 100, None, b"one", None)

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


# The same idempotency key again: generations


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
    assert (again.charge, again.balance, bytes(again.answer)) == (200, 800, b"sealed")
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
        credits.refund(owner, license.id, hold.hold_id, "sorry")

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
        holds.release(db, license.key, first.hold_id, process_id)
    else:
        lapse()

    second = process_hold(license, key="k", fingerprint=b"another")

    assert (second.outcome, second.hold_id != first.hold_id) == ("opened", True)


def test_a_key_that_was_taken_over_stores_the_second_answer(db, new_license, process_id, process_hold, settle):
    license = new_license()
    first = process_hold(license, key="k")
    holds.release(db, license.key, first.hold_id, process_id)
    second = process_hold(license, key="k")
    settle(license, second, 5, answer=b"second")

    again = process_hold(license, key="k")

    assert (again.hold_id, again.charge, bytes(again.answer)) == (second.hold_id, 5, b"second")


def test_a_freed_key_can_be_taken_over_by_a_deduction(db, new_license, process_id, process_hold, refused):
    license = new_license(credits=100)
    hold = process_hold(license, key="k")
    holds.release(db, license.key, hold.hold_id, process_id)

    assert credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None).balance == 99
    with refused("idempotency_key_reused"):
        process_hold(license, key="k")
