"""Old entries leave the tables for files, and the ledger of a license begins where they end.

Revision ID: 0013
Revises: 0012
"""

from service.migrations import run_scripts

revision = "0013"
down_revision = "0012"

UPGRADE = (
    "tables",
    # The archive
    "due_archives",
    "archivable_through",
    "prepare_archive",
    "archive_lines",
    "keep_sums",
    "archive_entries",
    "list_archived",
    "list_archive_files",
    "show_sums",
    "show_archived",
    "refuse_archived",
    "verify_archived",
    # What reads entries
    "payment_sums",
    "entry_span",
    "list_heads",
    "refund",
    "refund_v2",
    "show_receipt",
    # What begins at the archive
    "verify_acts",
    "verify_grants",
    "verify_ledger",
    "verify_licenses",
    "verify_limits",
    "verify_usage",
    "verify_business",
    "verify_recent_acts",
    "verify_recent_grants",
    "verify_recent_ledger",
    "verify_recent_licenses",
    "verify",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
