DROP FUNCTION
    obol.arm_alerts,
    obol.claim_delivery,
    obol.count_waiting,
    obol.create_webhook,
    obol.delete_webhook,
    obol.due_deliveries,
    obol.due_expiring,
    obol.due_undelivered,
    obol.end_delivery,
    obol.list_events,
    obol.list_thresholds,
    obol.list_webhooks,
    obol.next_threshold,
    obol.note_balance,
    obol.note_webhook,
    obol.pause_webhook,
    obol.purge_events,
    obol.queue_delivery,
    obol.replay_events,
    obol.rotate_webhook,
    obol.set_alerts,
    obol.show_alerts,
    obol.tell_expiring,
    obol.tell_undelivered,
    obol.tell_upstream_refusal,
    obol.utc,
    obol.verify_events,
    obol.write_event;
DROP TABLE obol.deliveries, obol.delivery_queues, obol.events, obol.webhooks;
DROP INDEX obol.grants_expiring, obol.holds_undelivered;
ALTER TABLE obol.grants DROP COLUMN expiry_told_at;
ALTER TABLE obol.licenses DROP COLUMN notify_below, DROP COLUMN alert_base, DROP COLUMN alerts, DROP COLUMN email;
