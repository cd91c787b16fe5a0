-- What can be delivered now, at most p_most for each webhook, and last, one for a webhook that is failing: it is only
-- asked whether it works again. p_with_email: also by e-mail. One read without a lock, for claim_delivery.
CREATE OR REPLACE FUNCTION obol.due_deliveries(p_most integer, p_with_email boolean)
RETURNS TABLE (license_id uuid, webhook_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_webhook record;
BEGIN
    FOR v_webhook IN
        SELECT w.webhook_id, CASE WHEN w.failing_since IS NULL THEN p_most ELSE 1 END AS most
          FROM obol.webhooks w
         WHERE w.paused_at IS NULL AND w.deleted_at IS NULL AND (w.kind = 'http' OR p_with_email)
         ORDER BY w.failing_since NULLS FIRST
    LOOP
        RETURN QUERY SELECT q.license_id, q.webhook_id FROM obol.delivery_queues q
                      WHERE q.webhook_id = v_webhook.webhook_id AND q.next_attempt_at <= v_now
                      ORDER BY q.next_attempt_at LIMIT v_webhook.most;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.due_deliveries(integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_deliveries(integer, boolean) TO obol_service;
