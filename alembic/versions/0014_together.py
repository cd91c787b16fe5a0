"""Disputes that were prevented, refunds that failed, keys that end at once, and limits of one's own.

Revision ID: 0014
Revises: 0013
"""

from service.migrations import run_scripts

revision = "0014"
down_revision = "0013"

UPGRADE = (
    # Keys
    "rotate_license_key_v2",
    "show_own_limits",
    # Usage
    "due_rollups_v2",
    # Payments
    "payments",
    "dispute_state",
    "sum_refunds",
    "disagreement_of",
    "note_stripe_state",
    "note_refund",
    "book_stripe_event",
    "verify_payments",
    "revoke_payments",
)
DOWNGRADE = ("restore_rotation", "restore_payments", "drop_payments", "drop_limits", "drop_rollups")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
