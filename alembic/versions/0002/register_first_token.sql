-- Makes a digest, that of OBOL_ADMIN_TOKEN, the first token's, with all scopes, and revokes the one that was
-- it before. Only for the owner: the service's login, stolen, must not be able to add a token.
-- Returns 'registered', 'known' when it is that already, or 'revoked': a token that was revoked or replaced
-- stays so, or an instance with yesterday's settings would bring it back.
CREATE OR REPLACE FUNCTION obol.register_first_token(p_token_digest bytea)
RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_name constant text := 'OBOL_ADMIN_TOKEN';
    v_now timestamptz := clock_timestamp();
    v_actor text := obol.check_token(NULL, 'tokens');
    v_token obol.admin_tokens;
    v_token_id uuid := gen_random_uuid();
BEGIN
    SELECT t.* INTO v_token FROM obol.admin_tokens t WHERE t.token_digest = p_token_digest;
    IF NOT FOUND THEN
        -- Two processes that start at once: the second finds what the first has done.
        LOCK TABLE obol.admin_tokens IN SHARE ROW EXCLUSIVE MODE;
        SELECT t.* INTO v_token FROM obol.admin_tokens t WHERE t.token_digest = p_token_digest;
    END IF;
    IF v_token.revoked_at IS NOT NULL THEN
        RETURN 'revoked';
    ELSIF v_token.token_id IS NOT NULL THEN
        RETURN 'known';
    END IF;
    UPDATE obol.admin_tokens t SET revoked_at = v_now
     WHERE t.revoked_at IS NULL AND (t.is_first OR t.name = c_name);
    INSERT INTO obol.admin_tokens (token_id, token_digest, name, scopes, is_first, created_at)
    VALUES (v_token_id, p_token_digest, c_name, ARRAY['read', 'grant', 'manage', 'tokens'], true, v_now);
    PERFORM obol.note_act(NULL, v_actor, 'register_first_token', c_name,
                          jsonb_build_object('token_id', v_token_id), NULL);
    RETURN 'registered';
END
$$;

REVOKE ALL ON FUNCTION obol.register_first_token(bytea) FROM PUBLIC;
