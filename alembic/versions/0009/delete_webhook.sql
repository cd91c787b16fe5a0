-- Ends a webhook for good, and forgets its secrets; what waits for it is not delivered, and purge_events removes it.
-- Returns whether there is, or was, such a webhook. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.delete_webhook(p_webhook_id uuid, p_token_digest bytea, p_request_id text)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.webhooks w
       SET deleted_at = v_now, secret = '', old_secret = NULL, old_secret_until = NULL
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'delete_webhook', p_webhook_id::text, NULL, p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http';
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION obol.delete_webhook(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.delete_webhook(uuid, bytea, text) TO obol_service;
