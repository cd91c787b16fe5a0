-- One license, by id. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
               available bigint, external_id text, created_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.show_license(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_license(uuid, bytea, text) TO obol_service;
