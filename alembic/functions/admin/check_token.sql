-- Who acts, for the audit trail: token:<name>, or cli:<login> of a login that is a member of the functions'
-- owner and needs no token. Every operator function asks first, so that whoever has only the service's login
-- can do nothing: they would need a token, and its digest opens nothing that they could not send anyway.
-- One message for an unknown, an expired and a revoked token.
-- Errors: ADMIN_FORBIDDEN, with the scope that is missing.
CREATE OR REPLACE FUNCTION obol.check_token(p_token_digest bytea, p_scope text)
RETURNS text
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_token obol.admin_tokens;
BEGIN
    -- current_user is the owner of this function, and session_user who has logged in.
    IF p_token_digest IS NULL AND pg_has_role(session_user, current_user, 'MEMBER') THEN
        RETURN 'cli:' || session_user;
    END IF;
    SELECT t.* INTO v_token FROM obol.admin_tokens t
     WHERE t.token_digest = p_token_digest
       AND t.revoked_at IS NULL
       AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp());
    IF NOT FOUND THEN
        RAISE EXCEPTION 'ADMIN_FORBIDDEN: the admin token is not valid' USING ERRCODE = 'OB433';
    END IF;
    IF (p_scope = ANY (v_token.scopes)) IS NOT TRUE THEN
        RAISE EXCEPTION 'ADMIN_FORBIDDEN: the admin token lacks the scope %', p_scope
            USING ERRCODE = 'OB433', DETAIL = jsonb_build_object('scope', p_scope),
                  HINT = 'Use a token that has it.';
    END IF;
    RETURN 'token:' || v_token.name;
END
$$;

REVOKE ALL ON FUNCTION obol.check_token(bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.check_token(bytea, text) TO obol_service;
