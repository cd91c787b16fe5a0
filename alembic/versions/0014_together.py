"""Disputes that were prevented.

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
    "note_stripe_state",
    "revoke_payments",
)
DOWNGRADE = ("restore_payments", "drop_payments")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
