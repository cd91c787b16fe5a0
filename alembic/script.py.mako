"""${message}

Revision ID: ${up_revision}
Revises: ${down_revision | comma,n}
"""

from service.migrations import run_scripts

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

# The files of versions/${up_revision}/ in the order in which they run, without `.sql`.
UPGRADE = ()
DOWNGRADE = ()


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
