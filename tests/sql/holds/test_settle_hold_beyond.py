"""obol.settle_hold, beyond the hold: an answer that has used more than was held, and what a client
pays for it at most."""

import pytest


def test_more_than_was_held_comes_out_of_what_is_available(new_license, client_hold, process_hold, settle, money):
    license = new_license(credits=1000)
    client_hold(license, 500)
    hold = process_hold(license, 100)

    result = settle(license, hold, 150)

    assert (result.charge, result.shortfall, result.balance) == (150, 0, 850)
    assert money(license) == (850, 500)


def test_what_is_missing_is_booked_as_shortfall(new_license, client_hold, process_hold, settle, state_of, sql, money):
    license = new_license(credits=1000)
    other = client_hold(license, 880)
    hold = process_hold(license, 100)

    result = settle(license, hold, 150)

    assert (result.charge, result.shortfall, result.balance) == (120, 30, 880)
    assert sql("SELECT amount, shortfall FROM obol.ledger_entries WHERE kind = 'charge'") == [(-120, 30)]
    assert (state_of(other), money(license)) == ("held", (880, 880))


def test_a_shortfall_never_goes_below_zero(new_license, process_hold, settle, money):
    license = new_license(credits=100)

    assert settle(license, process_hold(license, 100), 10**12).balance == 0
    assert money(license) == (0, 0)


def test_a_shortfall_again_gives_the_same(new_license, process_hold, settle, refused):
    license = new_license(credits=100)
    hold = process_hold(license, 100)
    first = settle(license, hold, 150)

    assert settle(license, hold, 150) == first
    with refused("hold_not_open"):
        settle(license, hold, 100)


# What the client pays at most


@pytest.mark.parametrize(
    ("amount", "limit", "charge", "shortfall"),
    [
        (90, 150, 90, 0),
        (100, 100, 100, 0),
        (120, 150, 120, 0),
        (150, 150, 150, 0),
        (400, 150, 150, 250),
        (400, 100, 100, 300),
        (400, None, 400, 0),
        # Never more than there is, whatever the client would pay.
        (5000, 4000, 1000, 4000),
    ],
)
def test_usage_beyond_the_limit_is_shortfall(
    new_license, process_hold, settle, money, verified, amount, limit, charge, shortfall
):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)

    settled = settle(license, hold, amount, max_credits=limit)

    assert (settled.charge, settled.shortfall, settled.balance) == (charge, shortfall, 1000 - charge)
    assert money(license) == (1000 - charge, 0)
    verified()


def test_beyond_the_limit_the_same_again_gives_the_same(new_license, process_hold, settle):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)

    first = settle(license, hold, 400, max_credits=150)

    assert settle(license, hold, 400, max_credits=150) == first
