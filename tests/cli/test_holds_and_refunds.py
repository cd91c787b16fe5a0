"""`obol holds --undelivered` and `obol refund`."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.pricing import CLASSES
from service.repository import holds, ledger, processes


@pytest.fixture
def spend(db):
    """`spend(license, amount)`: a keyless generation, charged and never noted as delivered; its hold."""

    def generate(license, amount):
        process_id, hold_id = uuid4(), uuid4()
        processes.heartbeat(db, process_id, 30)
        holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id,
            amounts=holds.HoldAmounts(amount, amount),
            model="a-model",
            price=dict.fromkeys(CLASSES, 1_000_000),
        )
        holds.settle(db, license.key, hold_id, amount=amount, process_id=process_id, usage={"input": amount})
        return hold_id

    return generate


def test_undelivered_charges_are_listed_with_the_command_that_refunds_them(obol, new_license, spend):
    license = new_license(credits=100)
    hold_id = spend(license, 30)

    (listed,) = obol("holds", "--undelivered", "--json").json
    settled_at = listed.pop("settled_at")
    assert datetime.fromisoformat(settled_at) <= datetime.now(UTC)
    assert listed == {"license_id": str(license.id), "hold_id": str(hold_id), "charge": 30, "model": "a-model"}
    refund = f"obol refund {license.id} {hold_id}"
    heading, row = obol("holds", "--undelivered").out.splitlines()
    assert heading.split("  ")[0] == "CREDITS"
    assert row.split(maxsplit=3) == ["30", settled_at, "a-model", refund]
    assert obol("holds", "--undelivered", "--license", license.id, "--json").json != []
    assert obol("holds", "--undelivered", "--license", uuid4(), "--json").json == []

    assert "the balance is 100" in obol(*refund.split()[1:]).out


def test_no_undelivered_charges(obol):
    assert obol("holds", "--undelivered").out == "None: every charged answer was delivered.\n"
    assert obol("holds", "--undelivered", "--json").json == []


def test_a_refunded_charge_is_no_longer_listed(obol, new_license, spend):
    license = new_license(credits=100)
    obol("refund", license.id, spend(license, 30))

    assert obol("holds", "--undelivered", "--json").json == []


def test_refund_gives_back_once(obol, db, new_license, sql):
    license = new_license(credits=100)
    deduction_id = uuid4()
    ledger.deduct(db, license.key, deduction_id, amount=40)

    refund = ("refund", license.id, deduction_id, "--reference", "broken", "--json")
    first = obol(*refund)
    assert first.json == {"id": str(deduction_id), "amount": 40, "balance": 100}
    assert obol(*refund) == first
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "broken")]


def test_refund_of_what_was_never_charged(obol, new_license):
    license, hold_id = new_license(), uuid4()
    refused = obol("refund", license.id, hold_id)

    assert (refused.code, str(hold_id) in refused.err) == (1, True)
    assert obol("refund", license.id, hold_id, "--json").json["code"] == "hold_not_found"
