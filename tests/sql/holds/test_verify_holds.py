"""obol.verify_holds: a hold that was settled has its charge, no other has one, and somebody ends each."""

import pytest
from tampering import ANSWER, DELIVERED, HELD_IS_SUM, HOLD, KEY_NAMES, ONE_CHARGE, OVERDUE

from service.repository import ledger

TAMPERED = {
    "a settled hold without its charge": (
        f"UPDATE obol.holds SET state = 'settled', ended_at = now() {HOLD} %(released)s",
        {ONE_CHARGE: "hold %(released)s is settled and has 0"},
    ),
    "a released hold with a charge": (
        f"UPDATE obol.holds SET state = 'released' {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is released and has 1", KEY_NAMES: "%(charged)s", ANSWER: "%(charged)s"},
    ),
    "an open hold with a charge": (
        f"UPDATE obol.holds SET state = 'held', ended_at = NULL {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is held and has 1", HELD_IS_SUM: "held 50, open holds sum to 110", ANSWER: ""},
    ),
    "a delivered answer that nobody paid for": (
        f"UPDATE obol.holds SET delivered_at = now() {HOLD} %(released)s",
        {DELIVERED: "hold %(released)s is released and was delivered at "},
    ),
    "an open hold of no process": (
        f"UPDATE obol.holds SET process_id = license_id {HOLD} %(process_open)s",
        {OVERDUE: "hold %(process_open)s of process %(license_id)s was due at "},
    ),
    "an open hold of a process that died long ago": (
        "UPDATE obol.processes SET lease_expires_at = now() - interval '25 hours'",
        {OVERDUE: "hold %(process_open)s of process "},
    ),
    "a client's open hold that was due long ago": (
        f"UPDATE obol.holds SET expires_at = now() - interval '25 hours' {HOLD} %(client_open)s",
        {OVERDUE: "hold %(client_open)s of process none was due at "},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_a_service_that_stands_still_for_less_than_a_day_leaves_nothing_to_be_found(owner, one_of_each, sql):
    sql("UPDATE obol.processes SET lease_expires_at = now() - interval '23 hours'")
    sql("UPDATE obol.holds SET expires_at = expires_at - interval '23 hours', opened_at = opened_at - interval '1 day'")

    assert ledger.verify(owner) == []


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_holds") <= set().union(*(expected for _, expected in TAMPERED.values()))
