"""Events and where they are delivered, and alerts of a low balance.

Revision ID: 0009
Revises: 0008
"""

from service.migrations import run_scripts

revision = "0009"
down_revision = "0008"

UPGRADE = (
    "tables",
    # Events
    "utc",
    "queue_delivery",
    "write_event",
    "list_events",
    "purge_events",
    "verify_events",
    # Alerts
    "list_thresholds",
    "next_threshold",
    "note_balance",
    "arm_alerts",
    "set_alerts",
    "show_alerts",
    # What nobody calls at the moment when it happens
    "due_expiring",
    "tell_expiring",
    "due_undelivered",
    "tell_undelivered",
    "tell_upstream_refusal",
    # Webhooks
    "create_webhook",
    "list_webhooks",
    "rotate_webhook",
    "pause_webhook",
    "delete_webhook",
    "replay_events",
    # Deliveries
    "due_deliveries",
    "claim_delivery",
    "end_delivery",
    "note_webhook",
    "count_waiting",
    # What there was
    "adjust_credits_v2",
    "book_charge",
    "book_deduction",
    "bring_up_to_date",
    "grant_credits_v2",
    "revoke_key",
    "settle_hold",
    "verify",
    "revoke",
)
DOWNGRADE = ("restore", "drop")


def upgrade() -> None:
    run_scripts(revision, UPGRADE)


def downgrade() -> None:
    run_scripts(revision, DOWNGRADE)
