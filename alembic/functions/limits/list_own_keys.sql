-- The keys that the holder of a license made, oldest first, with those that have ended, 1,000 at most.
-- Errors: see check_key_maker, of what changes nothing.
CREATE OR REPLACE FUNCTION obol.list_own_keys(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, false);
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.made_by IS NOT NULL
                  ORDER BY k.created_at, k.key_id
                  LIMIT 1000;
END
$$;

REVOKE ALL ON FUNCTION obol.list_own_keys(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_own_keys(uuid, bytea) TO obol_service;
