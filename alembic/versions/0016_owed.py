"""What is owed of a payment is taken when the hold that covered it has ended; a dispute that was an inquiry takes its
money; a fall is told though a grant starts with it; webhooks that work come before those that fail.

Revision ID: 0016
Revises: 0015
"""

from service.migrations import run_scripts

revision = "0016"
down_revision = "0015"

UPGRADE = (
    # Grants
    "bring_up_to_date",
    # Payments
    "note_stripe_state",
    "book_stripe_event",
    "due_owed",
    "take_back_owed",
    # Events
    "list_thresholds",
    "due_deliveries",
    "note_webhook",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
