"""Deductions that would wait for each other at one license go together.

Revision ID: 0014
Revises: 0013
"""

from service.migrations import run_scripts

revision = "0014"
down_revision = "0013"

UPGRADE = ("deduct_several", "import_license", "revoke")
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
