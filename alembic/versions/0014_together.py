"""Disputes that were prevented, and refunds that failed.

Revision ID: 0014
Revises: 0013
"""

from service.migrations import run_scripts

revision = "0014"
down_revision = "0013"

UPGRADE = (
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
DOWNGRADE = ("restore_payments", "drop_payments")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
