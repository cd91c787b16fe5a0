"""obol.verify_idempotency: a key names what it did, and one that was freed did nothing."""

import pytest
from tampering import ENTRY, HOLD, KEY, KEY_FREED, KEY_NAMES, LICENSE

from service.repository import ledger

TAMPERED = {
    "a key that names nothing": (
        f"UPDATE obol.idempotency_keys SET cause_id = license_id {KEY} 'd';"
        f"UPDATE obol.ledger_entries SET cause_id = gen_random_uuid() {ENTRY} 1",
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
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_idempotency") <= set().union(*(expected for _, expected in TAMPERED.values()))


def test_the_key_of_a_withheld_answer_that_was_paid_back_is_free_though_it_names_a_charge(
    db, new_license, process_id, process_hold, settle, sql
):
    license = new_license()
    hold = process_hold(license, key="k")
    settle(license, hold, 40)
    ledger.refund_withheld(db, license.id, hold.hold_id, process_id=process_id)

    assert sql("SELECT in_force, cause_id::text FROM obol.idempotency_keys") == [(False, str(hold.hold_id))]
    assert ledger.verify(db) == []
