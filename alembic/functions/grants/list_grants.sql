-- The grants that the license of a key can use, now or later, in the order in which they burn.
-- Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.list_grants(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint,
               starts_at timestamptz, expires_at timestamptz, state text, reason text, reference text,
               created_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT d.* FROM obol.describe_grants(p_license_id) d
                  WHERE d.state IN ('active', 'scheduled')
                  ORDER BY d.priority, COALESCE(d.expires_at, 'infinity'), d.created_at, d.grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.list_grants(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_grants(uuid, bytea) TO obol_service;
