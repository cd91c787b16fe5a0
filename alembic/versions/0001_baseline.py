"""The ledger: licenses, keys, holds, entries, idempotency keys, prices, leases.

Revision ID: 0001
Revises:
"""

from service.migrations import run_scripts

revision = "0001"
down_revision = None

UPGRADE = (
    "roles",
    "tables",
    # Views
    "license_key_validity",
    "license_overview",
    "price_book",
    "undelivered_charges",
    "undelivered_holds",
    "unpaid_holds",
    # Licenses
    "refuse_license",
    "check_license_key",
    "check_active",
    "check_license",
    "create_license",
    "find_license",
    "rotate_license_key",
    "set_license",
    "set_license_status",
    "verify_licenses",
    # Idempotency
    "claim_idempotency_key",
    "find_idempotency_key",
    "free_idempotency_key",
    "verify_idempotency",
    # Ledger
    "ask_again",
    "refuse_amount",
    "book_entry",
    "adjust_credits",
    "charge_for",
    "deduct",
    "deduct_credits",
    "grant_credits",
    "list_entries",
    "refund",
    "refund_withheld",
    "verify_ledger",
    # Holds
    "admissible_amount",
    "book_charge",
    "check_admission",
    "due_holds",
    "expire_holds",
    "find_hold",
    "note_deliveries",
    "open_hold",
    "refuse_hold",
    "release_hold",
    "replay_hold",
    "settle_hold",
    "verify_holds",
    # All of the verify_… functions
    "verify",
    # Prices
    "list_prices",
    "set_prices",
    # Processes
    "current_revision",
    "heartbeat",
    "purge_expired",
    "revoke",
)
DOWNGRADE = ("drop",)


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
