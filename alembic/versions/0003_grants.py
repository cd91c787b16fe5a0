"""Grants with lifetimes, refunds in parts, voids.

Revision ID: 0003
Revises: 0002
"""

from service.migrations import run_scripts

revision = "0003"
down_revision = "0002"

UPGRADE = (
    "tables",
    "grants_of_before",
    # Grants
    "lock_license",
    "check_room",
    "list_open_grants",
    "list_draws",
    "describe_grants",
    "book_part",
    "bring_up_to_date",
    "due_changes",
    "list_grants",
    "list_grants_of",
    "void_grant",
    "verify_grants",
    # Ledger
    "refundable",
    "give_back",
    "adjust_credits_v2",
    "grant_credits_v2",
    "refund_v2",
    # What there was
    "adjust_credits",
    "check_admission",
    "create_license_v2",
    "deduct",
    "find_license",
    "grant_credits",
    "open_hold",
    "refund",
    "replay_hold",
    "settle_hold",
    "show_license",
    "verify",
    "verify_idempotency",
    "verify_ledger",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
