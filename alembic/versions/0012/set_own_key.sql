-- Changes the name and the limits of a key that the holder of a license made: p_name null leaves it, and p_limits has
-- those limits that change, null in it takes one away. What has been used of a limit stays used.
-- Errors, in order: see check_key_maker; KEY_NOT_FOUND (none of the holder's, or it is revoked), INVALID_AMOUNT (a limit
-- is none).
CREATE OR REPLACE FUNCTION obol.set_own_key(
    p_license_id uuid,
    p_key_digest bytea,
    p_key_id uuid,
    p_name text,
    p_limits jsonb
) RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_before jsonb;
    v_limits jsonb;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, true);
    SELECT k.limits INTO v_before FROM obol.license_keys k
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before, p_limits);
    UPDATE obol.license_keys k
       SET name = COALESCE(p_name, k.name), limits = v_limits
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

REVOKE ALL ON FUNCTION obol.set_own_key(uuid, bytea, uuid, text, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_own_key(uuid, bytea, uuid, text, jsonb) TO obol_service;
