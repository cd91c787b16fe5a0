"""What the pages show: the business by time, kept; processes, checks, limits in use; and keys that customers make.

Revision ID: 0012
Revises: 0011
"""

from service.migrations import run_scripts

revision = "0012"
down_revision = "0011"

UPGRADE = (
    "tables",
    # The business
    "entry_business",
    "roll_up_business",
    "overview",
    "verify_business",
    "verify",
    "sum_expiring",
    # Health
    "list_processes",
    "note_verification",
    "list_verifications",
    # Keys
    "show_limits",
    "set_own_keys",
    "check_key_maker",
    "list_own_keys",
    "create_own_key",
    "set_own_key",
    "revoke_own_key",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
