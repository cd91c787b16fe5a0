"""Whoever ends holds says which process it is: no other's is ended before its lease has lapsed.

Revision ID: 0008
Revises: 0007
"""

from service.migrations import run_scripts

revision = "0008"
down_revision = "0007"

UPGRADE = ("expire_holds_v2", "expire_holds", "revoke")
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
