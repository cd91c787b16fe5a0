-- Renames a key, lets it end at another time, or changes its limits: null leaves the name or the time as it is,
-- 'infinity' is no end, and p_limits has those limits that change, null in it takes one away. The same again changes
-- nothing, and is no act. A time that is past has to be allowed. What has been used of a limit stays used.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), KEY_NOT_FOUND (none, or it is revoked),
-- INVALID_AMOUNT (the time is past, or a limit is none).
CREATE OR REPLACE FUNCTION obol.set_key(
    p_license_id uuid,
    p_key_id uuid,
    p_name text,
    p_expires_at timestamptz,
    p_allow_past boolean,
    p_limits jsonb,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
                 last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_after record;
    v_limits jsonb;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    SELECT k.name, k.expires_at, k.limits INTO v_before
      FROM obol.license_keys k
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
    IF NOT p_allow_past AND p_expires_at <= clock_timestamp() AND p_expires_at IS DISTINCT FROM v_before.expires_at THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'),
                  HINT = 'Name a later time, or allow a past one: allow_past, or --allow-past. Or revoke the key.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before.limits, p_limits);
    UPDATE obol.license_keys k
       SET name = COALESCE(p_name, k.name),
           expires_at = NULLIF(COALESCE(p_expires_at, k.expires_at), 'infinity'),
           limits = v_limits
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id
    RETURNING k.name, k.expires_at, k.limits INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'set_key', p_key_id::text, jsonb_build_object(
            'before', to_jsonb(v_before), 'after', to_jsonb(v_after)), p_request_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

REVOKE ALL ON FUNCTION obol.set_key(uuid, uuid, text, timestamptz, boolean, jsonb, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_key(uuid, uuid, text, timestamptz, boolean, jsonb, bytea, text) TO obol_service;
