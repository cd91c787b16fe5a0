-- STUB of development: 0002 has the real one.
CREATE OR REPLACE FUNCTION obol.check_token(p_token_digest bytea, p_scope text)
RETURNS text
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_token_digest IS NOT NULL OR NOT pg_has_role(session_user, current_user, 'MEMBER') THEN
        RAISE EXCEPTION 'ADMIN_FORBIDDEN: the token has not the scope %', p_scope USING ERRCODE = 'OB433';
    END IF;
    RETURN 'cli:' || session_user;
END
$$;

REVOKE ALL ON FUNCTION obol.check_token(bytea, text) FROM PUBLIC;
