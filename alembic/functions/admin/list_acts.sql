-- The audit trail: acts numbered below p_before (null: from the newest), newest first, at most p_limit.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_acts(
    p_before bigint,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (act_no bigint, acted_at timestamptz, actor text, act text, license_id uuid,
                 target text, detail jsonb, request_id text)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT a.act_no, a.acted_at, a.actor, a.act, a.license_id, a.target, a.detail, a.request_id
                   FROM obol.admin_acts a
                  WHERE p_before IS NULL OR a.act_no < p_before
                  ORDER BY a.act_no DESC
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_acts(bigint, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_acts(bigint, integer, bytea, text) TO obol_service;
