-- Notes that a webhook works again, so that what waits for it is tried at once, or that it fails and why. One that has failed for three days without one success,
-- or says that it is gone (410), is paused: its events wait until an operator resumes it. Returns whether it was paused now.
CREATE OR REPLACE FUNCTION obol.note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_error, 300);
BEGIN
    IF p_error IS NULL THEN
        UPDATE obol.webhooks w SET failing_since = NULL, last_error = NULL
         WHERE w.webhook_id = p_webhook_id AND w.failing_since IS NOT NULL;
        IF FOUND THEN
            UPDATE obol.delivery_queues q SET next_attempt_at = v_now
             WHERE q.webhook_id = p_webhook_id AND q.next_attempt_at > v_now AND q.claim_id IS NULL;
        END IF;
        RETURN false;
    END IF;
    UPDATE obol.webhooks w
       SET failing_since = COALESCE(w.failing_since, v_now), last_error = v_error
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http';
    UPDATE obol.webhooks w
       SET paused_at = v_now, paused_because = CASE WHEN p_is_gone THEN 'gone' ELSE 'failing' END
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.paused_at IS NULL
       AND (p_is_gone OR w.failing_since <= v_now - interval '3 days');
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION obol.note_webhook(uuid, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_webhook(uuid, text, boolean) TO obol_service;
