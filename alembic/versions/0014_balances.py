"""The balance of a license by day, and packages from a file.

Revision ID: 0014
Revises: 0013
"""

from service.migrations import run_scripts

revision = "0014"
down_revision = "0013"

UPGRADE = ("show_balances", "set_packages", "revoke")
DOWNGRADE = ("drop",)


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
