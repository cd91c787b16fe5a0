"""Deductions that would wait for each other at one license go together; prevented disputes, refunds that failed, keys
that end at once, limits of one's own, roll-ups of what is new, balances by day and packages from a file.

Revision ID: 0014
Revises: 0013
"""

from service.migrations import run_scripts

revision = "0014"
down_revision = "0013"

UPGRADE = (
    "tables",
    # Licenses and keys
    "deduct_several",
    "import_license",
    "rotate_license_key_v2",
    "show_own_limits",
    # Usage
    "due_rollups_v2",
    "show_balances",
    # Payments
    "set_packages",
    "dispute_state",
    "sum_refunds",
    "disagreement_of",
    "note_stripe_state",
    "note_refund",
    "book_stripe_event",
    "verify_payments",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
