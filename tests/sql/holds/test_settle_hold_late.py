"""obol.settle_hold, late: the process was stopped, its hold has expired, and it woke up."""

import pytest

from service.repository import holds, processes


@pytest.mark.parametrize("key", [None, "k"])
def test_a_late_settle_charges_once(new_license, process_hold, settle, lapse, state_of, money, key):
    license = new_license(credits=1000)
    hold = process_hold(license, 300, key=key)
    lapse()
    assert (state_of(hold), money(license)) == ("expired", (1000, 0))

    first = settle(license, hold, 200, answer=b"late")

    assert (first.charge, first.shortfall, first.balance) == (200, 0, 800)
    assert settle(license, hold, 200, answer=b"late") == first
    assert (state_of(hold), money(license)) == ("settled", (800, 0))


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


def test_a_late_settle_needs_the_credits_to_be_there_still(new_license, process_hold, settle, lapse, refused, deduct):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    lapse()
    deduct(license, 61)

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
        holds.release(db, license.key, second.hold_id, process_id=process_id)

    with refused("hold_not_open"):
        settle(license, first, 200, answer=b"late")


def test_the_fence_leaves_the_second_hold_to_charge(new_license, process_hold, settle, lapse, refused):
    license = new_license(credits=1000)
    first = process_hold(license, 300, key="k")
    lapse()
    second = process_hold(license, 300, key="k")
    with refused("hold_not_open"):
        settle(license, first, 200, answer=b"late")

    assert settle(license, second, 100, answer=b"second").balance == 900
    assert bytes(process_hold(license, 300, key="k").answer) == b"second"


def test_the_fence_holds_against_a_deduction_that_took_the_key(
    new_license, process_hold, settle, lapse, refused, deduct
):
    license = new_license()
    hold = process_hold(license, key="k")
    lapse()
    deduct(license, 1, key="k")

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


def test_a_late_settle_too_needs_only_a_key_that_was_good_at_opening(new_license, process_hold, settle, lapse, cut_off):
    license = new_license(credits=100)
    hold = process_hold(license)
    lapse()
    cut_off(license)

    assert settle(license, hold, 40).balance == 60


def test_a_late_settle_keeps_to_the_limit_too(new_license, process_hold, settle, lapse, state_of, verified):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)
    lapse()

    settled = settle(license, hold, 400, max_credits=150)

    assert (settled.charge, settled.shortfall, settled.balance) == (150, 250, 850)
    assert state_of(hold) == "settled"
    verified()
