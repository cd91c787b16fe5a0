"""`obol adjust`."""

from uuid import UUID

import pytest
from ended import LARGEST


def test_a_wrong_grant_is_corrected(obol, new_license, sql):
    license = new_license(credits=10)
    obol("grant", license.id, 5000)

    assert "the balance is 510" in obol("adjust", license.id, -4500, "--reason", "500 were meant").out
    assert sql("SELECT kind, amount, reference FROM obol.ledger_entries WHERE entry_no = 3") == [
        ("adjustment", -4500, "500 were meant")
    ]
    adjusted = obol("adjust", license.id, 7, "--reason", "sorry", "--json").json
    assert (UUID(adjusted["id"]).version, adjusted["amount"], adjusted["balance"]) == (4, 7, 517)


def test_adjusted_again_with_its_idempotency_key_it_is_once(obol, new_license):
    license = new_license(credits=10)
    adjust = ("adjust", license.id, -7, "--reason", "r", "--idempotency-key", "k", "--json")

    assert obol(*adjust).json == obol(*adjust).json
    refused = obol("adjust", license.id, -7, "--reason", "another", "--idempotency-key", "k")
    assert (refused.code, "Use a new key" in refused.err) == (1, True)


@pytest.mark.parametrize("amount", [str(LARGEST + 1), str(-LARGEST - 1), "many", "-x"])
def test_adjust_by_what_is_no_amount(obol, new_license, amount):
    license = new_license(credits=10)

    assert obol("adjust", license.id, amount, "--reason", "r").code == 2
    assert obol("license", "show", license.id, "--json").json["balance"] == 10


def test_adjust_wants_a_reason_and_an_amount_that_is_there(obol, new_license):
    license = new_license(credits=10)

    assert "--reason" in obol("adjust", license.id, -1).err
    nothing = obol("adjust", license.id, 0, "--reason", "r")
    too_much = obol("adjust", license.id, -11, "--reason", "r")
    assert (nothing.code, "not 0" in nothing.err) == (1, True)
    assert (too_much.code, "11 credits are to be taken and 10 are available" in too_much.err) == (1, True)
