-- Adds a token of the admin API. Nobody gives a scope that they do not have. Once per token id.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT (its expiry is past), ALREADY_EXISTS (a token of this
-- name that is not revoked).
CREATE OR REPLACE FUNCTION obol.create_token(
    p_token_id uuid,
    p_new_digest bytea,
    p_name text,
    p_scopes text[],
    p_expires_at timestamptz,
    p_token_digest bytea,
    p_request_id text
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'tokens');
    v_scope text;
BEGIN
    FOREACH v_scope IN ARRAY p_scopes LOOP
        PERFORM obol.check_token(p_token_digest, v_scope);
    END LOOP;
    IF p_expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or none.';
    END IF;
    INSERT INTO obol.admin_tokens (token_id, token_digest, name, scopes, created_at, expires_at)
    VALUES (p_token_id, p_new_digest, p_name, p_scopes, clock_timestamp(), p_expires_at)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'create_token', p_name, jsonb_build_object(
            'token_id', p_token_id, 'scopes', p_scopes, 'expires_at', p_expires_at), p_request_id);
        RETURN;
    END IF;
    PERFORM FROM obol.admin_tokens t WHERE t.token_id = p_token_id AND t.token_digest = p_new_digest;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: there is a token of the name %', p_name
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'name'),
                  HINT = 'Choose another name, or revoke that token first.';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.create_token(uuid, bytea, text, text[], timestamptz, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_token(uuid, bytea, text, text[], timestamptz, bytea, text) TO obol_service;
