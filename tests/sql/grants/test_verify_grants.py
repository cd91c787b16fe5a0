"""obol.verify_grants: the balance, the grants and what was drawn from them say the same."""

import pytest
from tampering import (
    ACT_NAMES,
    ALLOTTED,
    GRANT,
    GRANT_IS,
    GRANTS_LEFT,
    HAS_ACT,
    LAPSED,
    LICENSE,
    NEXT_CHANGE,
    OF_A_GRANT,
    SPAN,
    STARTED,
)

# one_of_each: entry 1 is a grant of 1000, of which 71 are drawn; entry 2 one of 7.
TAMPERED = {
    "a grant with more left": (
        f"UPDATE obol.grants SET credits_left = credits_left + 1, amount = amount + 1 {GRANT} %(grant)s",
        {GRANTS_LEFT: "", STARTED: "grant %(grant)s of 8: 0 entries", ACT_NAMES: "of 7 credits to %(grant)s"},
    ),
    "a grant that is more than its parts": (
        f"UPDATE obol.grants SET credits_left = credits_left - 1 {GRANT} %(grant)s",
        {GRANTS_LEFT: "", GRANT_IS: "grant %(grant)s of 7: 6 left"},
    ),
    "what lapsed without an entry": (
        f"UPDATE obol.grants SET credits_left = 0, lapsed = 7 {GRANT} %(grant)s",
        {GRANTS_LEFT: "", LAPSED: "grant %(grant)s: 7 lapsed, entries took 0"},
    ),
    "a grant that has not started but has its entry": (
        f"UPDATE obol.grants SET has_started = false {GRANT} %(grant)s",
        {GRANTS_LEFT: "", STARTED: "grant %(grant)s of 7: 1 entries", NEXT_CHANGE: ""},
    ),
    "an entry of no grant": (
        f"UPDATE obol.ledger_entries SET cause_id = gen_random_uuid() {LICENSE} AND entry_no = 2",
        {OF_A_GRANT: "entry 2 is a grant", STARTED: "grant %(grant)s of 7: 0 entries", HAS_ACT: "entry 2"},
    ),
    "a change that counts as a use": (
        f"UPDATE obol.licenses SET allotted_entry_no = 1 {LICENSE}",
        {GRANTS_LEFT: "", ALLOTTED: "entry 2 is a grant, and entries are allotted up to 1"},
    ),
    "more drawn than was used": (
        f"UPDATE obol.allotments SET balance_to = balance_to - 1 {LICENSE} AND last_entry_no = 4",
        {SPAN: "entries 3 to 4: 151 allotted", GRANT_IS: "of 1000"},
    ),
    "an end that nobody will notice": (
        f"UPDATE obol.grants SET expires_at = now() + interval '1 hour' {GRANT} %(grant)s",
        {NEXT_CHANGE: "next change at infinity"},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(tamper, what):
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_grants") <= set().union(*(expected for _, expected in TAMPERED.values()))
