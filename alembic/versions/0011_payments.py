"""Payments by card.

Revision ID: 0011
Revises: 0010
"""

from service.migrations import run_scripts

revision = "0011"
down_revision = "0010"

UPGRADE = (
    "tables",
    "hmac_sha256",
    "is_signed_by_stripe",
    "set_stripe_secret",
    "set_package",
    "end_package",
    "list_packages",
    "open_payment",
    "note_checkout",
    "find_stripe_intent",
    "payment_sums",
    "give_for_payment",
    "square_payment",
    "disagreement_of",
    "note_stripe_state",
    "book_stripe_event",
    "list_payments",
    "list_all_payments",
    "describe_grants",
    "verify_acts",
    "verify_idempotency",
    "verify_payments",
    "verify",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
