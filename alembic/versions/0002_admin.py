"""The admin API: tokens that the database itself asks for, the audit trail, and what operators do with a token.

Revision ID: 0002
Revises: 0001
"""

from service.migrations import run_scripts

revision = "0002"
down_revision = "0001"

UPGRADE = (
    "tables",
    # Views
    "license_overview",
    # Admin
    "check_token",
    "note_act",
    "register_first_token",
    "create_token",
    "list_tokens",
    "revoke_token",
    "list_acts",
    "overview",
    # Licenses
    "create_license_v2",
    "set_license_v2",
    "rotate_license_key_v2",
    "list_licenses",
    "show_license",
    # Ledger
    "is_booked_now",
    "deduct_v2",
    "verify_v2",
    # Prices
    "set_prices_v2",
    # Holds
    "list_holds",
    "revoke",
)
DOWNGRADE = ("drop",)


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
