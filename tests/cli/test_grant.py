"""`obol grant`."""

from uuid import UUID

import pytest
from ended import LARGEST

from service.repository import licenses


def test_grant(obol, new_license, sql):
    license = new_license(credits=10)

    assert "the balance is 15" in obol("grant", license.id, 5, "--reference", "invoice 7").out
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE entry_no = 2") == [(5, "invoice 7")]
    granted = obol("grant", license.id, 5, "--json").json
    assert (UUID(granted["id"]).version, granted["amount"], granted["balance"]) == (4, 5, 20)


def test_grant_again_with_its_idempotency_key_grants_once(obol, new_license, owner):
    license = new_license(credits=10)
    grant = ("grant", license.id, 5, "--idempotency-key", "k")

    assert obol(*grant, "--json").json == obol(*grant, "--json").json
    assert licenses.show(owner, license.id).balance == 15
    refused = obol("grant", license.id, 6, "--idempotency-key", "k")
    assert (refused.code, "Use a new key" in refused.err) == (1, True)


@pytest.mark.parametrize("amount", ["0", "-1", str(LARGEST + 1), "many"])
def test_grant_of_what_is_no_amount(obol, new_license, amount):
    license = new_license(credits=10)

    assert obol("grant", license.id, "--", amount).code == 2
    assert obol("license", "show", license.id, "--json").json["balance"] == 10


def test_grant_beyond_the_largest_balance(obol, new_license):
    license = new_license(credits=LARGEST)
    refused = obol("grant", license.id, 1)

    assert refused.code == 1
    assert str(LARGEST) in refused.err
