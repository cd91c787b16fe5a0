-- The license that a key opens, whatever its state: a suspended or expired license may still
-- read its own balance. Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.find_license(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz,
               balance bigint, held bigint, available bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at,
                        l.balance, l.held, l.available
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.find_license(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.find_license(uuid, bytea) TO obol_service;
