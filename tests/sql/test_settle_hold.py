"""obol.settle_hold: what is charged, late settles and their fence, shortfalls, and the errors."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.keys import LicenseKey
from service.repository import credits, holds, licenses, processes

PAST = datetime.now(UTC) - timedelta(days=1)


def money(db, license):
    found = licenses.find(db, license.key)
    return found.balance, found.held


# The charge


def test_charges_what_was_used_and_gives_the_rest_back(db, new_license, client_hold, sql):
    license = new_license(credits=1000)
    hold = client_hold(license, 300, reference="job 7")

    result = holds.settle(db, license.key, hold.hold_id, 200)

    assert (result.charge, result.shortfall, result.balance) == (200, 0, 800)
    assert (result.amount, result.expires_at) == (300, hold.expires_at)
    assert money(db, license) == (800, 0)
    assert sql(
        "SELECT entry_no, kind, amount, balance_after, cause_id::text, reference FROM obol.ledger_entries"
        " WHERE kind = 'charge'"
    ) == [(2, "charge", -200, 800, str(hold.hold_id), "job 7")]


def test_a_generation_s_entry_carries_model_price_and_usage(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license, 300), 200)

    ((model, price, usage),) = sql("SELECT model, price, usage FROM obol.ledger_entries WHERE kind = 'charge'")
    assert (model, price["output"], usage) == ("a-model", 1_000_000, {"output": 200})


def test_the_hold_is_settled_from_then_on(new_license, process_hold, settle, state_of, sql):
    license = new_license()
    hold = process_hold(license)
    settle(license, hold, 1)

    assert state_of(hold) == "settled"
    assert sql("SELECT ended_at >= opened_at FROM obol.holds") == [(True,)]


@pytest.mark.parametrize("amount", [0, 100])
def test_the_edges_of_the_hold(db, new_license, client_hold, sql, amount):
    license = new_license(credits=100)
    hold = client_hold(license, 100)

    assert holds.settle(db, license.key, hold.hold_id, amount).balance == 100 - amount
    assert sql("SELECT amount FROM obol.ledger_entries WHERE kind = 'charge'") == [(-amount,)]


def test_other_holds_stay_as_they_are(db, new_license, client_hold, process_hold, settle, state_of):
    license = new_license(credits=1000)
    others = [client_hold(license, 100), process_hold(license, 200)]
    settle(license, process_hold(license, 300), 50)

    assert [state_of(hold) for hold in others] == ["held", "held"]
    assert money(db, license) == (950, 300)


# The same again


@pytest.mark.parametrize("amount", [0, 7])
def test_the_same_again_gives_the_same(db, new_license, client_hold, amount):
    license = new_license()
    hold = client_hold(license, 10)
    first = holds.settle(db, license.key, hold.hold_id, amount)
    credits.deduct(db, license.key, uuid4(), 1, None, b"one", None)

    assert holds.settle(db, license.key, hold.hold_id, amount) == first


def test_the_same_again_keeps_the_answer_that_was_stored(new_license, process_hold, settle):
    license = new_license()
    hold = process_hold(license, key="k")
    first = settle(license, hold, 7, answer=b"first")

    assert settle(license, hold, 7, answer=b"second") == first
    assert bytes(process_hold(license, key="k").answer) == b"first"


def test_another_amount_is_refused(db, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license, 10)
    holds.settle(db, license.key, hold.hold_id, 7)

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, 8)


def test_the_same_again_after_a_refund_gives_the_same(db, owner, new_license, client_hold):
    license = new_license()
    hold = client_hold(license, 10)
    first = holds.settle(db, license.key, hold.hold_id, 7)
    credits.refund(owner, license.id, hold.hold_id, "sorry")

    assert holds.settle(db, license.key, hold.hold_id, 7) == first


# Errors, and which of them wins


@pytest.mark.parametrize("amount", [-1, None])
def test_the_amount_goes_before_the_key(db, new_license, refused, amount):
    unknown = LicenseKey(new_license().id, b"\0" * 32)

    with refused("amount_invalid"):
        holds.settle(db, unknown, uuid4(), amount)


def test_the_key_goes_before_the_hold(db, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license)
    wrong = LicenseKey(license.id, b"\0" * 32)

    with refused("license_invalid"):
        holds.settle(db, wrong, uuid4(), 1)
    with refused("license_invalid"):
        holds.settle(db, wrong, hold.hold_id, 1)


def test_an_unknown_hold(db, new_license, refused):
    license = new_license()

    with refused("hold_not_found"):
        holds.settle(db, license.key, uuid4(), 1)


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_another_license_cannot_settle_it(request, db, new_license, process_id, refused, kind):
    license, other = new_license(), new_license()
    hold = request.getfixturevalue(kind)(license)
    process_id = process_id if kind == "process_hold" else None

    with refused("hold_not_found"):
        holds.settle(db, other.key, hold.hold_id, 1, process_id)
    with refused("license_invalid"):
        holds.settle(db, LicenseKey(license.id, other.key.digest), hold.hold_id, 1, process_id)


def test_a_client_cannot_see_a_process_s_hold(db, new_license, process_hold, refused):
    license = new_license()
    hold = process_hold(license)

    with refused("hold_not_found"):
        holds.settle(db, license.key, hold.hold_id, 0)


def test_a_process_sees_its_own_holds_only(db, new_license, client_hold, process_hold, process_id, refused):
    license = new_license()
    of_client, of_process = client_hold(license), process_hold(license)

    with refused("hold_not_found"):
        holds.settle(db, license.key, of_client.hold_id, 1, process_id)
    with refused("hold_not_found"):
        holds.settle(db, license.key, of_process.hold_id, 1, uuid4())


def test_a_client_cannot_settle_above_its_hold(db, new_license, client_hold, refused):
    license = new_license(credits=1000)
    hold = client_hold(license, 10)

    with refused("settle_exceeds_hold") as problem:
        holds.settle(db, license.key, hold.hold_id, 11)
    assert problem.value.extra == {"required": 11, "held": 10}
    assert holds.settle(db, license.key, hold.hold_id, 10).charge == 10


@pytest.mark.parametrize("amount", [1, 11])
def test_not_open_goes_before_too_much(db, new_license, client_hold, refused, amount):
    license = new_license()
    hold = client_hold(license, 10)
    holds.release(db, license.key, hold.hold_id)

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, amount)


@pytest.mark.parametrize("amount", [1, 11])
def test_past_its_time_a_client_s_hold_counts_as_expired(db, new_license, client_hold, overdue, refused, amount):
    license = new_license()
    hold = client_hold(license, 10)
    overdue(hold)

    with refused("hold_not_open") as problem:
        holds.settle(db, license.key, hold.hold_id, amount)
    assert "expired" in problem.value.detail


def test_a_client_s_expired_hold_is_never_settled_late(db, new_license, client_hold, overdue, refused):
    license = new_license()
    hold = client_hold(license)
    overdue(hold)
    holds.release_expired(db)

    with refused("hold_not_open"):
        holds.settle(db, license.key, hold.hold_id, 1)


def test_a_released_hold_of_a_process_stays_released(db, new_license, process_id, process_hold, settle, refused):
    license = new_license()
    hold = process_hold(license)
    holds.release(db, license.key, hold.hold_id, process_id)

    with refused("hold_not_open"):
        settle(license, hold, 1)


# A service already given is paid for


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
@pytest.mark.parametrize("since", ["suspended", "expired", "rotated"])
def test_a_key_that_was_good_at_opening_settles(request, db, owner, new_license, process_id, sql, kind, since):
    license = new_license(credits=100)
    hold = request.getfixturevalue(kind)(license, 60)
    if since == "suspended":
        licenses.set_status(owner, license.id, "suspended")
    elif since == "expired":
        sql("UPDATE obol.licenses SET expires_at = clock_timestamp()")
    else:
        licenses.rotate_key(owner, LicenseKey(license.id, b"n" * 32), 0)

    process_id = process_id if kind == "process_hold" else None
    usage = {"output": 50} if process_id else None
    assert holds.settle(db, license.key, hold.hold_id, 50, process_id, usage).balance == 50


def test_so_does_the_key_that_replaced_it(db, owner, new_license, client_hold):
    license = new_license(credits=100)
    hold = client_hold(license, 60)
    new_key = LicenseKey(license.id, b"n" * 32)
    licenses.rotate_key(owner, new_key, 0)

    assert holds.settle(db, new_key, hold.hold_id, 50).balance == 50


def test_a_key_that_had_ended_before_the_hold_was_opened_does_not(db, owner, new_license, client_hold, refused):
    license = new_license()
    new_key = LicenseKey(license.id, b"n" * 32)
    licenses.rotate_key(owner, new_key, 0)
    hold = client_hold(license.__class__(license.id, "", new_key))

    with refused("license_invalid"):
        holds.settle(db, license.key, hold.hold_id, 1)


def test_a_key_that_came_after_the_hold_and_has_ended_does_not(db, owner, new_license, client_hold, refused):
    license = new_license()
    hold = client_hold(license)
    between, last = LicenseKey(license.id, b"n" * 32), LicenseKey(license.id, b"m" * 32)
    licenses.rotate_key(owner, between, 0)
    licenses.rotate_key(owner, last, 0)

    with refused("license_invalid"):
        holds.settle(db, between, hold.hold_id, 1)
    assert holds.settle(db, last, hold.hold_id, 1).charge == 1


# Late: the process was stopped and woke up


@pytest.mark.parametrize("key", [None, "k"])
def test_a_late_settle_charges_once(db, new_license, process_hold, settle, lapse, state_of, key):
    license = new_license(credits=1000)
    hold = process_hold(license, 300, key=key)
    lapse()
    assert (state_of(hold), money(db, license)) == ("expired", (1000, 0))

    first = settle(license, hold, 200, answer=b"late")

    assert (first.charge, first.shortfall, first.balance) == (200, 0, 800)
    assert settle(license, hold, 200, answer=b"late") == first
    assert (state_of(hold), money(db, license)) == ("settled", (800, 0))


def test_a_late_settle_claims_its_key_back(new_license, process_hold, settle, lapse):
    license = new_license()
    hold = process_hold(license, key="k")
    lapse()
    settle(license, hold, 7, answer=b"late")

    again = process_hold(license, key="k")

    assert (again.outcome, again.hold_id, bytes(again.answer)) == ("replayed", hold.hold_id, b"late")


def test_a_lease_that_lapsed_unnoticed_does_not_stop_a_settle(db, new_license, process_id, process_hold, settle):
    license = new_license(credits=100)
    hold = process_hold(license)
    processes.heartbeat(db, process_id, 0)

    assert settle(license, hold, 40).balance == 60


def test_a_late_settle_needs_the_credits_to_be_there_still(db, new_license, process_hold, settle, lapse, refused):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    lapse()
    credits.deduct(db, license.key, uuid4(), 61, None, b"one", None)

    with refused("hold_not_open"):
        settle(license, hold, 40)


def test_a_late_settle_takes_nothing_from_other_holds(new_license, client_hold, process_hold, settle, lapse, refused):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    lapse()
    client_hold(license, 61)

    with refused("hold_not_open"):
        settle(license, hold, 40)


def test_a_late_settle_may_pass_what_was_held_when_the_credits_are_there(new_license, process_hold, settle, lapse):
    license = new_license(credits=100)
    hold = process_hold(license, 10)
    lapse()

    assert settle(license, hold, 30).balance == 70


@pytest.mark.parametrize("second_ends", [None, "settled", "released"])
def test_the_fence_a_late_settle_is_refused_once_its_key_names_another_hold(
    db, new_license, process_id, process_hold, settle, lapse, refused, second_ends
):
    license = new_license(credits=1000)
    first = process_hold(license, 300, key="k")
    lapse()
    second = process_hold(license, 300, key="k")
    if second_ends == "settled":
        settle(license, second, 100, answer=b"second")
    elif second_ends == "released":
        holds.release(db, license.key, second.hold_id, process_id)

    with refused("hold_not_open"):
        settle(license, first, 200, answer=b"late")


def test_the_fence_leaves_the_second_hold_to_charge(db, new_license, process_hold, settle, lapse, refused):
    license = new_license(credits=1000)
    first = process_hold(license, 300, key="k")
    lapse()
    second = process_hold(license, 300, key="k")
    with refused("hold_not_open"):
        settle(license, first, 200, answer=b"late")

    assert settle(license, second, 100, answer=b"second").balance == 900
    assert bytes(process_hold(license, 300, key="k").answer) == b"second"


def test_the_fence_holds_against_a_deduction_that_took_the_key(db, new_license, process_hold, settle, lapse, refused):
    license = new_license()
    hold = process_hold(license, key="k")
    lapse()
    credits.deduct(db, license.key, uuid4(), 1, "k", b"a deduction", None)

    with refused("hold_not_open"):
        settle(license, hold, 1)


def test_a_late_settle_is_refused_once_its_key_is_forgotten(db, new_license, process_hold, settle, lapse, sql, refused):
    license = new_license()
    hold = process_hold(license, key="k")
    lapse()
    sql("UPDATE obol.idempotency_keys SET claimed_at = claimed_at - interval '31 days'")
    assert processes.purge(db) == 1

    with refused("hold_not_open"):
        settle(license, hold, 1)


@pytest.mark.parametrize("since", ["suspended", "expired", "rotated"])
def test_a_late_settle_too_needs_only_a_key_that_was_good_at_opening(
    owner, new_license, process_hold, settle, lapse, sql, since
):
    license = new_license(credits=100)
    hold = process_hold(license)
    lapse()
    if since == "suspended":
        licenses.set_status(owner, license.id, "suspended")
    elif since == "expired":
        sql("UPDATE obol.licenses SET expires_at = clock_timestamp()")
    else:
        licenses.rotate_key(owner, LicenseKey(license.id, b"n" * 32), 0)

    assert settle(license, hold, 40).balance == 60


# Usage beyond the hold


def test_more_than_was_held_comes_out_of_what_is_available(db, new_license, client_hold, process_hold, settle):
    license = new_license(credits=1000)
    client_hold(license, 500)
    hold = process_hold(license, 100)

    result = settle(license, hold, 150)

    assert (result.charge, result.shortfall, result.balance) == (150, 0, 850)
    assert money(db, license) == (850, 500)


def test_what_is_missing_is_booked_as_shortfall(db, new_license, client_hold, process_hold, settle, state_of, sql):
    license = new_license(credits=1000)
    other = client_hold(license, 880)
    hold = process_hold(license, 100)

    result = settle(license, hold, 150)

    assert (result.charge, result.shortfall, result.balance) == (120, 30, 880)
    assert sql("SELECT amount, shortfall FROM obol.ledger_entries WHERE kind = 'charge'") == [(-120, 30)]
    assert (state_of(other), money(db, license)) == ("held", (880, 880))


def test_a_shortfall_never_goes_below_zero(db, new_license, process_hold, settle):
    license = new_license(credits=100)

    assert settle(license, process_hold(license, 100), 10**12).balance == 0
    assert money(db, license) == (0, 0)


def test_a_shortfall_again_gives_the_same(new_license, process_hold, settle, refused):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    first = settle(license, hold, 150)

    assert settle(license, hold, 150) == first
    with refused("hold_not_open"):
        settle(license, hold, 100)


# The answer


def test_the_answer_is_stored_for_its_time_to_live(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license, key="k"), 1, answer=b"sealed", answer_ttl_s=60)

    assert sql(
        "SELECT answer = 'sealed', answer_expires_at - clock_timestamp() BETWEEN interval '50 s' AND interval '60 s'"
        " FROM obol.idempotency_keys"
    ) == [(True, True)]


def test_without_a_key_no_answer_is_stored(new_license, process_hold, settle, sql):
    license = new_license()
    settle(license, process_hold(license), 1, answer=b"sealed")

    assert sql("SELECT count(*) FROM obol.idempotency_keys") == [(0,)]


def test_a_client_s_settle_leaves_its_key_as_it_was(db, new_license, client_hold, sql):
    license = new_license()
    hold = client_hold(license, key="k")
    holds.settle(db, license.key, hold.hold_id, 1, answer=b"not a client's to store")

    assert sql("SELECT in_force, answer FROM obol.idempotency_keys") == [(True, None)]
