"""obol.verify_usage: the roll-ups say what the entries say that they were made of."""

import pytest
from tampering import ENTRY, LICENSE, USAGE, WATERMARK

from service.repository import usage

TAMPERED = {
    "a credit more": (
        f"UPDATE obol.usage_rollups SET credits = credits + 1 {LICENSE} AND model IS NULL",
        {USAGE: "model none: 0 calls and 1 credits too many"},
    ),
    "a token less": (
        f"UPDATE obol.usage_rollups SET output_tokens = output_tokens - 1 {LICENSE} AND model = 'a-model'",
        {USAGE: "model a-model: 0 calls and 0 credits too many, or others of its figures differ"},
    ),
    "a lost row": (
        f"DELETE FROM obol.usage_rollups {LICENSE} AND model = 'a-model'",
        {USAGE: "model a-model: -1 calls and -50 credits too many"},
    ),
    "a watermark that was put back": (
        f"UPDATE obol.usage_watermarks SET entry_no = 3 {LICENSE}",
        {USAGE: "model a-model: 1 calls and 50 credits too many"},
    ),
    "a watermark beyond the ledger": (
        f"UPDATE obol.usage_watermarks SET entry_no = 8 {LICENSE}",
        {WATERMARK: "rolled up to entry 8 of 7"},
    ),
    "an entry of another day": (
        f"UPDATE obol.ledger_entries SET created_at = created_at - interval '1 day' {ENTRY} 3",
        {USAGE: "model none: 1 calls and 100 credits too many"},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(db, one_of_each, tamper, what):
    usage.roll_up(db, one_of_each.license_id)
    tamper(*TAMPERED[what])


def test_every_rule_is_tampered_with_above(rules_of):
    assert rules_of("verify_usage") <= set().union(*(expected for _, expected in TAMPERED.values()))
