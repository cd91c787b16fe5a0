-- As list_licenses, the newest first: at most p_limit that were made before (p_before_at, p_before_id); nulls: from the
-- newest. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_newest_licenses(
    p_query text,
    p_status text,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
                 available bigint, external_id text, created_at timestamptz, limits jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l
                  WHERE (p_before_at IS NULL OR (l.created_at, l.license_id) < (p_before_at, p_before_id))
                    AND (p_status IS NULL OR l.status = p_status)
                    AND (p_query IS NULL
                         OR strpos(lower(l.name), lower(p_query)) > 0
                         OR starts_with(l.license_id::text, lower(p_query))
                         OR starts_with(lower(l.external_id), lower(p_query)))
                  ORDER BY l.created_at DESC, l.license_id DESC
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_newest_licenses(text, text, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_newest_licenses(text, text, timestamptz, uuid, integer, bytea, text) TO obol_service;
