"""Several keys a license, and limits of keys and licenses.

Revision ID: 0004
Revises: 0003
"""

from service.migrations import run_scripts

revision = "0004"
down_revision = "0003"

UPGRADE = (
    "tables",
    # What says which keys are good, and what they may do
    "license_key_validity",
    "license_overview",
    # Entries with their key
    "book_entry",
    # Limits
    "list_limits",
    "describe_limits",
    "check_limits",
    "count_use",
    "use_key",
    "count_end",
    "merge_limits",
    "verify_limits",
    # Keys
    "refuse_key",
    "create_key",
    "list_keys",
    "set_key",
    "revoke_key",
    "book_deduction",
    # What there was
    "book_charge",
    "check_admission",
    "verify_idempotency",
    "create_license_v2",
    "deduct",
    "deduct_v2",
    "expire_holds",
    "list_licenses",
    "open_hold",
    "release_hold",
    "rotate_license_key_v2",
    "set_license_v2",
    "show_license",
    "verify",
    "verify_ledger",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
