-- The last check of the whole ledger, and the last one of what was new, where there was one. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_verifications(p_token_digest bytea, p_request_id text)
RETURNS TABLE (is_whole boolean, began_at timestamptz, ended_at timestamptz, actor text, finding_count bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT v.is_whole, v.began_at, v.ended_at, v.actor, v.finding_count
                   FROM obol.verifications v ORDER BY v.is_whole DESC;
END
$$;

REVOKE ALL ON FUNCTION obol.list_verifications(bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_verifications(bytea, text) TO obol_service;
