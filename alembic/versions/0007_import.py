"""Keys and licenses of another system.

Revision ID: 0007
Revises: 0006
"""

from service.migrations import run_scripts

revision = "0007"
down_revision = "0006"

UPGRADE = (
    "tables",
    "find_imported_key",
    "import_license",
    "deduct_credits",
    "verify_imported_keys",
    "verify",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
