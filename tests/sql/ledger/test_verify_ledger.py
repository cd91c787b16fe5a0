"""obol.verify_ledger: the entries follow each other, and each is what its cause says."""

import pytest
from tampering import (
    ANSWER,
    BALANCE_IS_SUM,
    CHAIN,
    CHARGE_NAMES_HOLD,
    CLIENT_CHARGE,
    COUNTER,
    ENTRY,
    GAPS,
    GRANTS_LEFT,
    HOLD,
    KEY_NAMES,
    LICENSE,
    PRICE_TIMES_USAGE,
    REFUND,
    REFUND_HAS_ACT,
    REFUND_OF_ACT,
    SHORT,
    SPAN,
    STARTED,
)

TAMPERED = {
    "an entry gone from the middle": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 2",
        {
            GAPS: "entry 3 follows entry 1",
            CHAIN: "entry 3: 1000 and -100 make 900, not 907",
            COUNTER: "counter 7, 6 entries, the last is 7",
            BALANCE_IS_SUM: "balance 929, entries sum to 922",
            STARTED: "grant %(grant)s of 7: 0 entries",
        },
    ),
    "the first entry gone": (
        f"DELETE FROM obol.ledger_entries {ENTRY} 1",
        {
            GAPS: "entry 2 follows entry 0",
            CHAIN: "entry 2: 0 and 7",
            COUNTER: "",
            BALANCE_IS_SUM: "",
            STARTED: "of 1000",
        },
    ),
    "a number skipped": (
        f"UPDATE obol.ledger_entries SET entry_no = 8 {ENTRY} 7; UPDATE obol.licenses SET entry_count = 8 {LICENSE}",
        {GAPS: "entry 8 follows entry 6", COUNTER: "counter 8, 7 entries, the last is 8"},
    ),
    "a balance that does not follow": (
        f"UPDATE obol.ledger_entries SET balance_after = 900 {ENTRY} 7",
        {CHAIN: "entry 7: 954 and -25 make 929, not 900"},
    ),
    "a first balance out of nothing": (
        f"UPDATE obol.ledger_entries SET balance_after = 1 {ENTRY} 1",
        {CHAIN: "entry 1: 0 and 1000 make 1000, not 1"},
    ),
    "a charge of no hold": (
        f"DELETE FROM obol.holds {HOLD} %(charged)s",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s", KEY_NAMES: "names %(charged)s", ANSWER: "names %(charged)s"},
    ),
    "a charge at another price than the hold's": (
        f"""UPDATE obol.holds SET price = '{{"output": 1}}' {HOLD} %(charged)s""",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge without its price": (
        f"UPDATE obol.ledger_entries SET price = NULL {ENTRY} 4",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge of another model": (
        f"UPDATE obol.ledger_entries SET model = 'dearer' {ENTRY} 4",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge of another key": (
        f"UPDATE obol.ledger_entries SET key_id = license_id {ENTRY} 4",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a generation without price and usage": (
        f"UPDATE obol.ledger_entries SET price = NULL, usage = NULL {ENTRY} 4;"
        f"UPDATE obol.holds SET price = NULL {HOLD} %(charged)s",
        {CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "a charge without its usage": (
        f"UPDATE obol.ledger_entries SET usage = NULL {ENTRY} 4",
        {PRICE_TIMES_USAGE: "entry 4: charged 50", CHARGE_NAMES_HOLD: "entry 4, hold %(charged)s"},
    ),
    "more charged than was used": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": 49}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 0, price times usage is 49"},
    ),
    "less charged than was used": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": 50, "cache_read": 1}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 0, price times usage is 51"},
    ),
    "a shortfall that is none": (
        f"UPDATE obol.ledger_entries SET shortfall = 1 {ENTRY} 4",
        {PRICE_TIMES_USAGE: "entry 4: charged 50, short by 1, price times usage is 50", SHORT: "entry 4"},
    ),
    "a shortfall though not all of the hold was taken": (
        f"""UPDATE obol.ledger_entries SET shortfall = 5, usage = '{{"output": 55}}' {ENTRY} 4""",
        {SHORT: "entry 4: charged 50, short by 5, hold %(charged)s was of 60"},
    ),
    "a usage that is no number": (
        f"""UPDATE obol.ledger_entries SET usage = '{{"output": "x"}}' {ENTRY} 4""",
        {PRICE_TIMES_USAGE: "entry 4: charged 50"},
    ),
    "a client charged more than it held": (
        f"UPDATE obol.holds SET amount = 24 {HOLD} %(client_charged)s",
        {CLIENT_CHARGE: "entry 7: charged 25, short by 0, hold %(client_charged)s was of 24"},
    ),
    "a client that is short of something": (
        f"UPDATE obol.ledger_entries SET shortfall = 1 {ENTRY} 7",
        {CLIENT_CHARGE: "entry 7: charged 25, short by 1, hold %(client_charged)s was of 40", SHORT: "entry 7"},
    ),
    "a refund of more than was taken": (
        f"UPDATE obol.ledger_entries SET amount = 101, balance_after = 958 {ENTRY} 5;"
        f"UPDATE obol.ledger_entries SET balance_after = balance_after + 1 {LICENSE} AND entry_no > 5;"
        f"UPDATE obol.licenses SET balance = 930 {LICENSE}",
        {
            REFUND: "101 were given back, their cause %(refunded)s took 100",
            SPAN: "entries 5 to 5: -100 allotted",
            GRANTS_LEFT: "balance 930",
            REFUND_HAS_ACT: "1 refunds of 101 credits for %(refunded)s, and 0 acts",
            REFUND_OF_ACT: "1 acts of refunds of 100 credits for %(refunded)s, and 0 entries",
        },
    ),
    "a refund of nothing that is known": (
        f"UPDATE obol.ledger_entries SET cause_id = license_id {ENTRY} 5",
        {
            REFUND: "100 were given back, their cause %(license_id)s took ",
            REFUND_HAS_ACT: "for %(license_id)s, and 0 acts",
            REFUND_OF_ACT: "for %(refunded)s, and 0 entries",
        },
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_ledger") <= set().union(*(expected for _, expected in TAMPERED.values()))
