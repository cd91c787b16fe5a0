-- As rotate_license_key, for who has a token: adds a key, lets the ones before it end p_overlap_s seconds
-- from now, and returns when. Once per digest. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.rotate_license_key_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_overlap_s integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_ends_at timestamptz := obol.rotate_license_key(p_license_id, p_key_digest, p_overlap_s);
BEGIN
    -- The same digest again finds the key of the first call, which another transaction has written.
    PERFORM FROM obol.license_keys k
      WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.xmin = pg_current_xact_id()::xid;
    IF FOUND THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'rotate_license_key', NULL, jsonb_build_object(
            'overlap_s', p_overlap_s, 'older_keys_end_at', v_ends_at), p_request_id);
    END IF;
    RETURN v_ends_at;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, bytea, text) TO obol_service;
