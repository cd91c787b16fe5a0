"""Usage by day and model, receipts, and statements with filters.

Revision ID: 0005
Revises: 0004
"""

from service.migrations import run_scripts

revision = "0005"
down_revision = "0004"

UPGRADE = (
    "tables",
    # Usage
    "entry_usage",
    "check_reader",
    "roll_up_usage",
    "due_rollups",
    "show_usage",
    "entry_span",
    "list_entries_v2",
    "verify_usage",
    # What there was
    "list_draws",
    "show_receipt",
    "verify",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
