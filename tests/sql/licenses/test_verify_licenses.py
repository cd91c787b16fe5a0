"""obol.verify_licenses: what a license says of its entries and holds is what they say."""

import pytest
from tampering import BALANCE_IS_SUM, COUNTER, ENTRY, GRANTS_LEFT, HELD_IN_BALANCE, HELD_IS_SUM, HOLD, LICENSE

TAMPERED = {
    "credits added": (
        f"UPDATE obol.licenses SET balance = balance + 1 {LICENSE}",
        {BALANCE_IS_SUM: "balance 930, entries sum to 929", GRANTS_LEFT: "balance 930"},
    ),
    "credits taken from held": (
        f"UPDATE obol.licenses SET held = held - 1 {LICENSE}",
        {HELD_IS_SUM: "held 49, open holds sum to 50"},
    ),
    "a hold that grew": (
        f"UPDATE obol.holds SET amount = 31 {HOLD} %(client_open)s",
        {HELD_IS_SUM: "held 50, open holds sum to 51"},
    ),
    "more held than there is": (
        "ALTER TABLE obol.licenses DROP CONSTRAINT licenses_check;"
        f"UPDATE obol.licenses SET held = balance + 1 {LICENSE}",
        {HELD_IN_BALANCE: "held 930, balance 929", HELD_IS_SUM: "held 930"},
    ),
    "less than nothing held": (
        f"ALTER TABLE obol.licenses DROP CONSTRAINT licenses_held_check;UPDATE obol.licenses SET held = -1 {LICENSE}",
        {HELD_IN_BALANCE: "held -1, balance 929", HELD_IS_SUM: "held -1"},
    ),
    "a counter ahead": (
        f"UPDATE obol.licenses SET entry_count = 8 {LICENSE}",
        {COUNTER: "counter 8, 7 entries, the last is 7"},
    ),
    "an entry too few": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 7;UPDATE obol.holds SET state = 'released' {HOLD} %(client_charged)s",
        {
            COUNTER: "counter 7, 6 entries, the last is 6",
            BALANCE_IS_SUM: "balance 929, entries sum to 954",
            GRANTS_LEFT: "",
        },
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_licenses") <= set().union(*(expected for _, expected in TAMPERED.values()))
