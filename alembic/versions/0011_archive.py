"""Old entries leave the tables for files, and the ledger of a license begins where they end.

Revision ID: 0011
Revises: 0009
"""

from service.migrations import run_scripts

revision = "0011"
down_revision = "0009"

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
    "entry_span",
    "list_heads",
    "overview",
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
