"""obol.open_hold: what is opened for clients and for generations, and the same id again."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from service.repository import holds, licenses

FREE = {"input": 0, "output": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}


def test_a_client_sets_credits_aside_for_a_time(new_license, client_hold, money):
    license = new_license(credits=1000)
    hold_id = uuid4()

    hold = client_hold(license, 300, hold_id=hold_id, expires_in_s=60)

    assert (hold.outcome, hold.hold_id, hold.amount, hold.available) == ("opened", hold_id, 300, 700)
    assert timedelta(seconds=50) < hold.expires_at - datetime.now(UTC) < timedelta(seconds=61)
    assert money(license) == (1000, 300)


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


# The same id again


@pytest.mark.parametrize("kind", ["client_hold", "process_hold"])
def test_the_same_id_again_gives_the_same_hold(request, new_license, money, kind):
    open_hold = request.getfixturevalue(kind)
    license, hold_id = new_license(credits=1000), uuid4()
    first = open_hold(license, 300, hold_id=hold_id)
    open_hold(license, 1)

    assert open_hold(license, 300, hold_id=hold_id) == first
    assert money(license) == (1000, 301)


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
        holds.release(db, license.key, hold.hold_id, process_id=process_id)
    else:
        lapse()

    assert state_of(hold) == end
    with refused("hold_not_open"):
        process_hold(license, hold_id=hold.hold_id)
