-- Raises unless the key opens a license that may be used now: for calls that are free but are
-- not for everybody. Errors, in order: INVALID_LICENSE, INACTIVE_LICENSE, EXPIRED_LICENSE.
CREATE OR REPLACE FUNCTION obol.check_license(p_license_id uuid, p_key_digest bytea)
RETURNS void
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.check_active(p_license_id);
END
$$;

REVOKE ALL ON FUNCTION obol.check_license(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.check_license(uuid, bytea) TO obol_service;
