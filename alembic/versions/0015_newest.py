"""Licenses are listed with the newest first, too.

Revision ID: 0015
Revises: 0014
"""

from service.migrations import run_scripts

revision = "0015"
down_revision = "0014"

UPGRADE = ("list_newest_licenses", "revoke")
DOWNGRADE = ("drop",)


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
