-- Has an event delivered to a webhook, also when it was before.
CREATE OR REPLACE FUNCTION obol.queue_delivery(p_license_id uuid, p_event_no bigint, p_webhook_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.deliveries (license_id, event_no, webhook_id)
    VALUES (p_license_id, p_event_no, p_webhook_id)
    ON CONFLICT (license_id, event_no, webhook_id) DO UPDATE
       SET state = 'waiting', attempts = 0, first_attempt_at = NULL;
    -- After that row: whoever finds that nothing waits has this one locked, and says so before this goes on.
    INSERT INTO obol.delivery_queues AS q (license_id, webhook_id, next_attempt_at)
    VALUES (p_license_id, p_webhook_id, v_now)
    ON CONFLICT (license_id, webhook_id) DO UPDATE
       SET next_attempt_at = COALESCE(q.next_attempt_at, excluded.next_attempt_at);
END
$$;

REVOKE ALL ON FUNCTION obol.queue_delivery(uuid, bigint, uuid) FROM PUBLIC;
