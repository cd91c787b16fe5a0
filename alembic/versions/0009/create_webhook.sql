-- Adds a webhook, once an id. p_types: the types of events that it wants; null: all. p_secret is sealed.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT (there are twenty).
CREATE OR REPLACE FUNCTION obol.create_webhook(
    p_webhook_id uuid,
    p_url text,
    p_name text,
    p_types text[],
    p_secret bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_most constant integer := 20;
    v_actor text := obol.check_token(p_token_digest, 'manage');
BEGIN
    IF (SELECT count(*) FROM obol.webhooks w WHERE w.deleted_at IS NULL AND w.kind = 'http') >= c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: there are % webhooks already', c_most
            USING ERRCODE = 'OB400', HINT = 'Delete one that is not needed.';
    END IF;
    INSERT INTO obol.webhooks (webhook_id, kind, url, name, types, secret, created_at)
    VALUES (p_webhook_id, 'http', p_url, p_name, p_types, p_secret, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'create_webhook', p_webhook_id::text, jsonb_build_object(
            'url', p_url, 'name', p_name, 'types', p_types), p_request_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.create_webhook(uuid, text, text, text[], bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_webhook(uuid, text, text, text[], bytea, bytea, text) TO obol_service;
