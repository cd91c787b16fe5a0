"""`obol holds --undelivered` and `obol refund`."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from service.gateway.transcript import Transcript
from service.pricing import CLASSES
from service.repository import holds, ledger, processes


@pytest.fixture
def spend(db):
    """`spend(license, amount)`: a generation, charged and never noted as delivered; its hold. With a replay
    key it has an idempotency key, and its answer is stored."""

    def generate(license, amount, replay_key=None):
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
            idempotency_key=None if replay_key is None else str(hold_id),
        )
        holds.settle(
            db,
            license.key,
            hold_id,
            amount=amount,
            process_id=process_id,
            usage={"input": amount},
            answer=None if replay_key is None else Transcript([replay_key]).seal(license.id, hold_id),
            answer_ttl_s=3600,
        )
        return hold_id

    return generate


def test_undelivered_charges_are_listed_with_the_command_that_refunds_them(obol, new_license, spend):
    license = new_license(credits=100)
    hold_id = spend(license, 30)

    (listed,) = obol("holds", "--undelivered", "--json").json
    settled_at = listed.pop("settled_at")
    assert datetime.fromisoformat(settled_at) <= datetime.now(UTC)
    assert listed == {"license_id": str(license.id), "hold_id": str(hold_id), "charge": 30, "model": "a-model"} | {
        "answer": "not_stored"
    }
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


def test_answers_that_broke_off_are_listed(obol, db, new_license):
    assert obol("holds", "--unpaid").out == "None: no answer broke off.\n"
    license, process_id = new_license(credits=100), uuid4()
    processes.heartbeat(db, process_id, 30)
    hold_ids = [uuid4(), uuid4()]
    for number, hold_id in enumerate(hold_ids):
        amounts = holds.HoldAmounts(10, 10)
        price = dict.fromkeys(CLASSES, 1)
        holds.open_for_process(
            db, license.key, hold_id, process_id=process_id, amounts=amounts, model="a-model", price=price
        )
        unpaid = holds.Unpaid("upstream_error", 7 + number, 900, 20)
        holds.release(db, license.key, hold_id, process_id=process_id, unpaid=unpaid)

    first, second = obol("holds", "--unpaid", "--json").json
    ended_at = first.pop("ended_at")
    assert datetime.fromisoformat(ended_at) <= datetime.now(UTC)
    assert first == {
        "license_id": str(license.id),
        "hold_id": str(hold_ids[0]),
        "model": "a-model",
        "reason": "upstream_error",
        "events": 7,
        "bytes": 900,
        "tokens": 20,
    }
    assert second["events"] == 8
    heading, row, _ = obol("holds", "--unpaid").out.splitlines()
    assert heading.split("  ")[0] == "TOKENS, ABOUT"
    assert row.split() == ["20", "7", "900", ended_at, "a-model", "upstream_error", str(license.id)]
    assert obol("holds", "--unpaid", "--license", uuid4(), "--json").json == []


def test_which_holds_has_to_be_said(obol):
    refused = obol("holds")
    assert refused.code == 2
    assert "--undelivered or --unpaid, or --held" in refused.err


OURS, LOST = b"\0" * 32, b"l" * 32


def test_a_stored_answer_is_listed_when_no_retry_can_open_it(obol, new_license, spend):
    license = new_license(credits=100)
    spend(license, 1, OURS)
    lost, not_stored = spend(license, 2, LOST), spend(license, 3)
    keys = {"OBOL_REPLAY_KEYS": "B" * 43 + "," + "A" * 43}

    listed = obol("holds", "--undelivered", "--json", **keys).json
    assert [(item["hold_id"], item["charge"], item["answer"]) for item in listed] == [
        (str(lost), 2, "lost"),
        (str(not_stored), 3, "not_stored"),
    ]
    _, first, second = obol("holds", "--undelivered", **keys).out.splitlines()
    assert f"obol refund {license.id} {lost}  # stored under a replay key that is not in OBOL_REPLAY_KEYS" in first
    assert second.endswith(f"obol refund {license.id} {not_stored}")

    obol("refund", license.id, lost)
    assert [item["charge"] for item in obol("holds", "--undelivered", "--json", **keys).json] == [3]


def test_without_replay_keys_nobody_knows_which_answers_a_retry_can_open(obol, new_license, spend):
    license = new_license(credits=100)
    spend(license, 1, OURS)
    spend(license, 2, LOST)

    listed = obol("holds", "--undelivered", "--json").json
    assert [(item["charge"], item["answer"]) for item in listed] == [(1, "unknown"), (2, "unknown")]
    assert "set OBOL_REPLAY_KEYS to know" in obol("holds", "--undelivered").out


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
    assert first.json | {"refund_id": None} == {
        "id": str(deduction_id), "refund_id": None, "amount": 40, "balance": 100, "lapsed": 0,
    }  # fmt: skip
    assert obol(*refund) == first
    assert sql("SELECT amount, reference FROM obol.ledger_entries WHERE kind = 'refund'") == [(40, "broken")]


def test_refund_of_what_was_never_charged(obol, new_license):
    license, hold_id = new_license(), uuid4()
    refused = obol("refund", license.id, hold_id)

    assert (refused.code, str(hold_id) in refused.err) == (1, True)
    assert obol("refund", license.id, hold_id, "--json").json["code"] == "hold_not_found"
