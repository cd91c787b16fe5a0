-- Ends a key that the holder of a license made, for good, as revoke_key does. The same again changes nothing. A license
-- that is suspended or has expired may: to end a key is always right.
-- Errors, in order: INVALID_LICENSE, KEYS_NOT_ALLOWED (see check_key_maker),
-- KEY_NOT_FOUND (none of the holder's).
CREATE OR REPLACE FUNCTION obol.revoke_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid)
RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, false);
    UPDATE obol.license_keys k
       SET revoked_at = v_now
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL;
    IF FOUND THEN
        PERFORM obol.write_event(p_license_id, 'key.revoked', p_key_id, jsonb_build_object(
            'key_id', p_key_id, 'revoked_at', obol.utc(v_now),
            'name', (SELECT k.name FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id)));
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.revoke_own_key(uuid, bytea, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.revoke_own_key(uuid, bytea, uuid) TO obol_service;
