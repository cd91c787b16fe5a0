-- What has been used of each limit of numbers of a license, and, with a p_key_id, of that key's: see describe_limits.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.show_limits(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (limit_of text, limit_name text, limit_value bigint, used numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_digest bytea;
BEGIN
    PERFORM obol.check_reader(p_license_id, NULL, p_token_digest);
    SELECT k.key_digest INTO v_digest FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    RETURN QUERY SELECT d.limit_of, d.limit_name, d.limit_value, d.used
                   FROM obol.describe_limits(p_license_id, v_digest, clock_timestamp()) d;
END
$$;

REVOKE ALL ON FUNCTION obol.show_limits(uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_limits(uuid, uuid, bytea, text) TO obol_service;
