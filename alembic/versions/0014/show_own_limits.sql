-- What has been used of each limit of numbers that a call with this key has to keep: see describe_limits.
-- Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.show_own_limits(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (limit_of text, limit_name text, limit_value bigint, used numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT d.limit_of, d.limit_name, d.limit_value, d.used
                   FROM obol.describe_limits(p_license_id, p_key_digest, clock_timestamp()) d;
END
$$;

REVOKE ALL ON FUNCTION obol.show_own_limits(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_own_limits(uuid, bytea) TO obol_service;
