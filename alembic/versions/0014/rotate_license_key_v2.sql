-- Adds a key to a license in place of p_only_key_id, with the name, limits and expiry of that one; null: in place of
-- all its keys, without limits of its own. What it takes the place of ends p_overlap_s seconds from now, so that
-- clients can change over without a gap; returns when. What ends at once is told as revoked keys are. Once per digest: the
-- same again changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), KEY_NOT_FOUND (none, or it has ended).
CREATE OR REPLACE FUNCTION obol.rotate_license_key_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_overlap_s integer,
    p_key_id uuid,
    p_only_key_id uuid,
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
    v_now timestamptz;
    v_ends_at timestamptz;
    v_old obol.license_keys;
    v_new obol.license_keys;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_ends_at := v_now + make_interval(secs => p_overlap_s);

    SELECT k.* INTO v_new FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    IF FOUND THEN
        RETURN v_new.created_at + make_interval(secs => p_overlap_s);
    END IF;
    IF p_only_key_id IS NOT NULL THEN
        SELECT k.* INTO v_old FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_id = p_only_key_id
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now);
        IF NOT FOUND THEN
            PERFORM obol.refuse_key(p_license_id, p_only_key_id);
        END IF;
    END IF;

    INSERT INTO obol.license_keys (license_id, key_digest, key_id, created_at, name, limits, expires_at)
    VALUES (p_license_id, p_key_digest, p_key_id, v_now, COALESCE(v_old.name, ''), v_old.limits, v_old.expires_at);
    UPDATE obol.license_keys k
       SET expires_at = v_ends_at
     WHERE k.license_id = p_license_id AND k.key_digest <> p_key_digest
       AND (p_only_key_id IS NULL OR k.key_id = p_only_key_id)
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > v_ends_at);
    IF v_ends_at <= v_now THEN
        PERFORM obol.write_event(p_license_id, 'key.revoked', k.key_id, jsonb_build_object(
                    'key_id', k.key_id, 'revoked_at', obol.utc(v_now), 'name', k.name))
           FROM obol.license_keys k
          WHERE k.license_id = p_license_id AND k.revoked_at IS NULL AND k.expires_at = v_ends_at
          ORDER BY k.created_at, k.key_id;
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'rotate_license_key', p_key_id::text, jsonb_build_object(
        'overlap_s', p_overlap_s, 'older_keys_end_at', v_ends_at, 'only_key_id', p_only_key_id), p_request_id);
    RETURN v_ends_at;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, uuid, uuid, bytea, text) TO obol_service;
