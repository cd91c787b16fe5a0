"""Checks of the audit trail and of what is new, and digests of entries and acts.

Revision ID: 0006
Revises: 0005
"""

from service.migrations import run_scripts

revision = "0006"
down_revision = "0005"

UPGRADE = (
    "tables",
    # The audit trail
    "named_acts",
    "verify_acts",
    "refund",
    # What is new
    "recent_licenses",
    "verify_recent_licenses",
    "verify_recent_ledger",
    "verify_recent_holds",
    "verify_recent_grants",
    "verify_recent_acts",
    "verify_since",
    "verify",
    "verify_v2",
    # Digests
    "list_heads",
    "digest_entries",
    "digest_acts",
    "settle_acts",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
