"""What is kept of archived entries is checked as they were: by obol.verify_archived, and by the rules of the tables,
which begin where the archive ends."""

from datetime import UTC, datetime

import pytest
from tampering import (
    ACT_NAMES,
    ARCHIVED_ACT,
    ARCHIVED_DAYS,
    ARCHIVED_DONE,
    ARCHIVED_FILES,
    ARCHIVED_USAGE,
    BALANCE_IS_SUM,
    BUSINESS,
    CHAIN,
    COUNTER,
    GAPS,
    GRANT_IS,
    GRANTS_LEFT,
    LAPSED,
    LICENSE,
    REFUND_OF_ACT,
    STARTED,
    USAGE,
    WATERMARK,
)

from service.repository import ledger

OLD = datetime(2020, 1, 1, tzinfo=UTC)

# What is done to the rows, and which rules then say no: of verify, and of verify_since.
TAMPERED = {
    "a balance": (
        f"UPDATE obol.archived SET balance = balance + 1 {LICENSE}",
        {ARCHIVED_DAYS, BALANCE_IS_SUM, CHAIN},
        {CHAIN},
    ),
    "a last entry": (
        f"UPDATE obol.archived SET last_entry_no = last_entry_no - 1 {LICENSE}",
        {ARCHIVED_FILES, GAPS, COUNTER},
        {GAPS},
    ),
    "a lost row": (
        f"DELETE FROM obol.archived {LICENSE}",
        {ARCHIVED_FILES, ARCHIVED_DAYS, GAPS, CHAIN, BALANCE_IS_SUM, COUNTER, ACT_NAMES, REFUND_OF_ACT},
        {GAPS, ACT_NAMES},
    ),
    "an entry that is in both": (
        "INSERT INTO obol.ledger_entries (license_id, entry_no, kind, amount, balance_after, cause_id, created_at)"
        " VALUES (%(license_id)s, 2, 'deduction', 0, 1000, gen_random_uuid(), now() - interval '80 days')",
        {GAPS, CHAIN, COUNTER, USAGE},
        {GAPS},
    ),
    "days": (
        f"UPDATE obol.archived_days SET total = total + 1, adjusted = adjusted + 1 {LICENSE}",
        {ARCHIVED_DAYS, BUSINESS},
        set(),
    ),
    "days that do not add up": (
        f"UPDATE obol.archived_days SET expired = expired + 1, shortfall = 1 {LICENSE}",
        {ARCHIVED_DAYS, BUSINESS},
        set(),
    ),
    "usage": (
        f"UPDATE obol.archived_usage SET credits = credits + 1 {LICENSE} AND model = 'm'",
        {ARCHIVED_USAGE, USAGE},
        set(),
    ),
    "usage and its roll-up": (
        f"UPDATE obol.archived_usage SET refunded = refunded + 1 {LICENSE} AND model = 'm';"
        f"UPDATE obol.usage_rollups SET refunded = refunded + 1 {LICENSE} AND model = 'm'",
        {ARCHIVED_USAGE},
        set(),
    ),
    "a file that no act names": (
        f"UPDATE obol.archived_files SET file_digest = sha256('x') {LICENSE}",
        {ARCHIVED_ACT},
        set(),
    ),
    "a watermark": (
        f"UPDATE obol.usage_watermarks SET entry_no = 3 {LICENSE}",
        {ARCHIVED_DONE, USAGE},
        set(),
    ),
    "what was drawn": (
        f"UPDATE obol.grants SET archived_drawn = archived_drawn + 1 {LICENSE} AND archived_drawn > 0",
        {GRANT_IS},
        set(),
    ),
    "what lapsed": (
        f"UPDATE obol.grants SET archived_lapsed = archived_lapsed + 1 {LICENSE} AND archived_lapsed > 0",
        {LAPSED},
        set(),
    ),
    "a start": (
        f"UPDATE obol.grants SET archived_starts = 0 {LICENSE} AND archived_lapsed > 0",
        {STARTED},
        set(),
    ),
    "a grant": (
        f"UPDATE obol.grants SET credits_left = credits_left + 1, amount = amount + 1 {LICENSE}"
        " AND reason = 'adjustment'",
        {GRANTS_LEFT},
        {GRANTS_LEFT},
    ),
    "a watermark beyond": (
        f"UPDATE obol.usage_watermarks SET entry_no = 1000 {LICENSE}",
        {WATERMARK},
        {WATERMARK},
    ),
}


@pytest.mark.tampers
@pytest.mark.parametrize("what", TAMPERED)
def test_what_was_tampered_with_is_found_and_nothing_else(past, ages, archived, owner, sql, clean, what):
    ages()
    past.refund(past.deduct(1))
    archived()
    clean()
    statements, whole, recent = TAMPERED[what]

    for statement in statements.split(";"):
        sql(statement, {"license_id": str(past.license.id)})

    assert {finding.rule for finding in ledger.verify(owner)} == whole
    assert {finding.rule for finding in ledger.verify(owner, OLD)} >= recent
