-- Gives a webhook a new secret, which is sealed. For p_overlap_s the one before signs too; one before that does not.
-- Returns whether there is such a webhook. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.rotate_webhook(
    p_webhook_id uuid,
    p_secret bytea,
    p_overlap_s integer,
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
    v_until timestamptz := clock_timestamp() + make_interval(secs => p_overlap_s);
BEGIN
    UPDATE obol.webhooks w
       SET secret = p_secret, old_secret = w.secret, old_secret_until = v_until
     -- The same again, because its outcome was not known, must not push the old one out.
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL AND w.secret <> p_secret;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'rotate_webhook', p_webhook_id::text, jsonb_build_object(
            'overlap_s', p_overlap_s), p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_webhook(uuid, bytea, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.rotate_webhook(uuid, bytea, integer, bytea, text) TO obol_service;
