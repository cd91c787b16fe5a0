-- The tokens of the admin API after (p_after_at, p_after_id), oldest first, at most p_limit; nulls: from the
-- oldest. Never a digest. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_tokens(
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (token_id uuid, name text, scopes text[], created_at timestamptz,
                 expires_at timestamptz, revoked_at timestamptz)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'tokens');
    RETURN QUERY SELECT t.token_id, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at
                   FROM obol.admin_tokens t
                  WHERE p_after_at IS NULL OR (t.created_at, t.token_id) > (p_after_at, p_after_id)
                  ORDER BY t.created_at, t.token_id
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_tokens(timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_tokens(timestamptz, uuid, integer, bytea, text) TO obol_service;
