"""obol.verify_holds: a hold that was settled has its charge, and no other has one."""

import pytest
from tampering import DELIVERED, HELD_IS_SUM, HOLD, KEY_NAMES, ONE_CHARGE

TAMPERED = {
    "a settled hold without its charge": (
        f"UPDATE obol.holds SET state = 'settled', ended_at = now() {HOLD} %(released)s",
        {ONE_CHARGE: "hold %(released)s is settled and has 0"},
    ),
    "a released hold with a charge": (
        f"UPDATE obol.holds SET state = 'released' {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is released and has 1", KEY_NAMES: "%(charged)s"},
    ),
    "an open hold with a charge": (
        f"UPDATE obol.holds SET state = 'held', ended_at = NULL {HOLD} %(charged)s",
        {ONE_CHARGE: "hold %(charged)s is held and has 1", HELD_IS_SUM: "held 50, open holds sum to 110"},
    ),
    "a delivered answer that nobody paid for": (
        f"UPDATE obol.holds SET delivered_at = now() {HOLD} %(released)s",
        {DELIVERED: "hold %(released)s is released and was delivered at "},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_holds") <= set().union(*(expected for _, expected in TAMPERED.values()))
