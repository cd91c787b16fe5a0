-- Licenses after (p_after_at, p_after_id), oldest first, at most p_limit; nulls: from the oldest. p_query is a
-- part of the name, or how the id or the external id begins, in any case of letters; p_status is active,
-- suspended or expired; null: any. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_licenses(
    p_query text,
    p_status text,
    p_after_at timestamptz,
    p_after_id uuid,
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
                  WHERE (p_after_at IS NULL OR (l.created_at, l.license_id) > (p_after_at, p_after_id))
                    AND (p_status IS NULL OR l.status = p_status)
                    AND (p_query IS NULL
                         OR strpos(lower(l.name), lower(p_query)) > 0
                         OR starts_with(l.license_id::text, lower(p_query))
                         OR starts_with(lower(l.external_id), lower(p_query)))
                  ORDER BY l.created_at, l.license_id
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_licenses(text, text, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_licenses(text, text, timestamptz, uuid, integer, bytea, text) TO obol_service;
