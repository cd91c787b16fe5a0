-- What must hold of events and alerts: a row for each thing that disagrees.
CREATE OR REPLACE FUNCTION obol.verify_events()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.license_id, 'what waits has its turn', format('event %s waits for the webhook %s, and is in no queue', d.event_no, d.webhook_id)
      FROM obol.deliveries d
      JOIN obol.webhooks w ON w.webhook_id = d.webhook_id AND w.deleted_at IS NULL
      LEFT JOIN obol.delivery_queues q ON q.license_id = d.license_id AND q.webhook_id = d.webhook_id
     WHERE d.state = 'waiting' AND q.next_attempt_at IS NULL
    UNION ALL
    SELECT l.license_id, 'a low balance is told', format('the balance is %s, and the threshold of %s was not told', l.balance, l.notify_below)
      FROM obol.licenses l
     WHERE l.notify_below > 0 AND l.balance <= l.notify_below;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_events() FROM PUBLIC;
