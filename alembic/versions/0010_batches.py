"""Many deductions of an operator in one call.

Revision ID: 0010
Revises: 0009
"""

from service.migrations import run_scripts

revision = "0010"
down_revision = "0009"

UPGRADE = ("deduct_v2", "deduct_batch", "tidy", "revoke")
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
