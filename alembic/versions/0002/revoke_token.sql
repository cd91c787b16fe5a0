-- Ends a token of the admin API, from the next call on and for good; the same again changes nothing.
-- Returns whether there is such a token. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.revoke_token(p_token_id uuid, p_token_digest bytea, p_request_id text)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_actor text := obol.check_token(p_token_digest, 'tokens');
    v_name text;
BEGIN
    UPDATE obol.admin_tokens t SET revoked_at = v_now
     WHERE t.token_id = p_token_id AND t.revoked_at IS NULL
    RETURNING t.name INTO v_name;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'revoke_token', v_name,
                              jsonb_build_object('token_id', p_token_id), p_request_id);
        RETURN true;
    END IF;
    RETURN EXISTS (SELECT FROM obol.admin_tokens t WHERE t.token_id = p_token_id);
END
$$;

REVOKE ALL ON FUNCTION obol.revoke_token(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.revoke_token(uuid, bytea, text) TO obol_service;
