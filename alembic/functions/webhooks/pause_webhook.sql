-- Pauses a webhook, so that its events wait, or resumes it: they are tried at once, with three days anew. The same again
-- changes nothing. Returns whether there is such a webhook. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.pause_webhook(
    p_webhook_id uuid,
    p_is_paused boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    -- Its row first: two that resume it at once would take the rows below in two orders.
    UPDATE obol.webhooks w
       SET paused_at = CASE WHEN p_is_paused THEN v_now END, paused_because = CASE WHEN p_is_paused THEN 'operator' END,
           failing_since = NULL
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL
       AND (w.paused_at IS NOT NULL) <> p_is_paused;
    IF FOUND THEN
        IF NOT p_is_paused THEN
            UPDATE obol.deliveries d SET attempts = 0, first_attempt_at = NULL
             WHERE d.webhook_id = p_webhook_id AND d.state = 'waiting';
            UPDATE obol.delivery_queues q SET next_attempt_at = v_now
             WHERE q.webhook_id = p_webhook_id AND q.next_attempt_at IS NOT NULL AND q.claim_id IS NULL;
        END IF;
        PERFORM obol.note_act(NULL, v_actor, CASE WHEN p_is_paused THEN 'pause_webhook' ELSE 'resume_webhook' END,
                              p_webhook_id::text, NULL, p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION obol.pause_webhook(uuid, boolean, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.pause_webhook(uuid, boolean, bytea, text) TO obol_service;
