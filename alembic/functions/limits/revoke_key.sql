-- Ends a key for good: from now on it is refused as an unknown one is. Holds that were opened with it can still be
-- ended with it: a service already given is paid for. The same again changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), KEY_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    UPDATE obol.license_keys k
       SET revoked_at = v_now
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.revoked_at IS NULL;
    IF FOUND THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'revoke_key', p_key_id::text, NULL, p_request_id);
        PERFORM obol.write_event(p_license_id, 'key.revoked', p_key_id, jsonb_build_object(
            'key_id', p_key_id, 'revoked_at', obol.utc(v_now),
            'name', (SELECT k.name FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id)));
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.revoke_key(uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.revoke_key(uuid, uuid, bytea, text) TO obol_service;
