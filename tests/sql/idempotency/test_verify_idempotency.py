"""obol.verify_idempotency: a key names what it did, and one that was freed did nothing."""

import pytest
from tampering import ANSWER, HOLD, KEY, KEY_FREED, KEY_KEPT, KEY_NAMES, LICENSE

from service.repository import holds, ledger

TAMPERED = {
    "a key that names nothing": (
        f"UPDATE obol.idempotency_keys SET cause_id = gen_random_uuid() {KEY} 'd'",
        {KEY_NAMES: "key of scope license claimed at "},
    ),
    "a freed key back in force": (
        f"UPDATE obol.idempotency_keys SET in_force = true {KEY} 'r'",
        {KEY_NAMES: "names %(released)s"},
    ),
    "a key whose generation expired": (
        f"UPDATE obol.holds SET state = 'expired', ended_at = now() {HOLD} %(process_open)s;"
        f"UPDATE obol.licenses SET held = held - 20 {LICENSE}",
        {KEY_NAMES: "names %(process_open)s"},
    ),
    "the key of a charge freed": (
        f"UPDATE obol.idempotency_keys SET in_force = false {KEY} 'c'",
        {KEY_FREED: "names %(charged)s"},
    ),
    "the key of a deduction freed": (
        f"UPDATE obol.idempotency_keys SET in_force = false {KEY} 'e'",
        {KEY_FREED: "names %(deduction)s"},
    ),
    # Only the charge for a withheld answer is paid back and its key freed; a deduction keeps its key.
    "the key of a refunded deduction freed": (
        f"UPDATE obol.idempotency_keys SET in_force = false {KEY} 'd'",
        {KEY_FREED: "names %(refunded)s"},
    ),
    "the key of a grant freed": (
        f"UPDATE obol.idempotency_keys SET in_force = false {KEY} 'g'",
        {KEY_FREED: "names %(grant)s"},
    ),
    "the key of a charge gone before its time": (
        f"DELETE FROM obol.idempotency_keys {KEY} 'c'",
        {KEY_KEPT: "hold %(charged)s is settled, and its key names nothing"},
    ),
    "the key of a charge gone on the day before its time": (
        f"DELETE FROM obol.idempotency_keys {KEY} 'c';"
        f"UPDATE obol.holds SET opened_at = now() - interval '28 days' {HOLD} %(charged)s",
        {KEY_KEPT: "hold %(charged)s is settled, and its key names nothing"},
    ),
    "the key of a charge renamed": (
        f"UPDATE obol.idempotency_keys SET idempotency_key = 'x' {KEY} 'c'",
        {KEY_KEPT: "hold %(charged)s is settled, and its key names nothing"},
    ),
    "the key of a client's charge names something else": (
        f"UPDATE obol.idempotency_keys SET cause_id = %(deduction)s {KEY} 'i'",
        {KEY_KEPT: "hold %(client_charged)s is settled, and its key names %(deduction)s"},
    ),
    "the key of a client's open hold gone": (
        f"DELETE FROM obol.idempotency_keys {KEY} 'h'",
        {KEY_KEPT: "hold %(client_open)s is held, and its key names nothing"},
    ),
    "the key of a running call freed": (
        f"UPDATE obol.idempotency_keys SET in_force = false {KEY} 'p'",
        {KEY_KEPT: "hold %(process_open)s is held, and its key names %(process_open)s"},
    ),
    "the key of a refunded charge gone": (
        f"DELETE FROM obol.idempotency_keys {KEY} 'c';"
        "SELECT obol.refund(%(license_id)s::uuid, %(charged)s::uuid, 'sorry')",
        {KEY_KEPT: "hold %(charged)s is settled, and its key names nothing"},
    ),
    "an answer for a call that still runs": (
        f"UPDATE obol.idempotency_keys SET answer = 'x' {KEY} 'p'",
        {ANSWER: "names %(process_open)s"},
    ),
    "an answer for a call that was not charged": (
        f"UPDATE obol.idempotency_keys SET answer = 'x' {KEY} 'r'",
        {ANSWER: "names %(released)s"},
    ),
    "an answer for a client's own hold": (
        f"UPDATE obol.idempotency_keys SET answer = 'x' {KEY} 'i'",
        {ANSWER: "names %(client_charged)s"},
    ),
    "an answer for a deduction": (
        f"UPDATE obol.idempotency_keys SET answer = 'x' {KEY} 'e'",
        {ANSWER: "names %(deduction)s"},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_idempotency") <= set().union(*(expected for _, expected in TAMPERED.values()))


def test_the_key_of_a_withheld_answer_that_was_paid_back_is_free_though_it_names_a_charge(
    owner, db, new_license, process_id, process_hold, settle, sql
):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 40)
    ledger.refund_withheld(db, license.id, hold.hold_id, process_id=process_id)

    assert sql("SELECT in_force, cause_id::text FROM obol.idempotency_keys") == [(False, str(hold.hold_id))]
    assert ledger.verify(owner) == []

    # A new try takes it over.
    settle(license, process_hold(license, key="k"), 40, answer=b"sealed")
    assert ledger.verify(owner) == []


@pytest.mark.parametrize("end", ["released", "expired", "settled late"])
def test_a_key_that_its_hold_let_go_of_is_no_finding(
    owner, db, new_license, process_id, process_hold, settle, lapse, end
):
    license = new_license()
    hold = process_hold(license, key="k")
    if end == "released":
        holds.release(db, license.key, hold.hold_id, process_id=process_id)
    else:
        lapse()
    if end == "settled late":
        settle(license, hold, 40)
    else:
        process_hold(license, key="k", fingerprint=b"another")

    assert ledger.verify(owner) == []


def test_a_free_call_is_no_finding(owner, new_license, process_hold, settle):
    license = new_license(credits=0)
    settle(license, process_hold(license, 0, key="k"), 0, answer=b"sealed")

    assert ledger.verify(owner) == []
