"""obol.settle_within: what a client pays at most, whatever its answer has used. The rest of it is
in test_settle_hold.py, whose function is this one without a limit."""

import pytest

from service.repository import holds, licenses


@pytest.fixture
def settle_within(db, process_id):
    """`settle_within(license, hold, amount, limit)`: end a generation's hold."""

    def settle(license, hold, amount, limit):
        return holds.settle(
            db, license.key, hold.hold_id, amount, process_id, {"output": amount}, b"sealed", 3600, limit
        )

    return settle


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
    db, new_license, process_hold, settle_within, verified, amount, limit, charge, shortfall
):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)

    settled = settle_within(license, hold, amount, limit)

    assert (settled.charge, settled.shortfall, settled.balance) == (charge, shortfall, 1000 - charge)
    found = licenses.find(db, license.key)
    assert (found.balance, found.held) == (1000 - charge, 0)
    verified()


def test_the_same_again_gives_the_same(new_license, process_hold, settle_within):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)

    first = settle_within(license, hold, 400, 150)

    assert settle_within(license, hold, 400, 150) == first


def test_a_late_settle_keeps_to_the_limit_too(new_license, process_hold, settle_within, lapse, state_of, verified):
    license = new_license(credits=1000)
    hold = process_hold(license, 100)
    lapse()

    settled = settle_within(license, hold, 400, 150)

    assert (settled.charge, settled.shortfall, settled.balance) == (150, 250, 850)
    assert state_of(hold) == "settled"
    verified()
