-- Adds a key to a license, with limits of its own if it is to have some. Once per key id and digest, and once per
-- idempotency key of the operator: the same again gives the same. Where the key_id is another one than p_key_id, an
-- earlier call made the key, and showed it then.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), IDEMPOTENCY_KEY_REUSED, INVALID_AMOUNT (the
-- time is past, or a limit is none).
CREATE OR REPLACE FUNCTION obol.create_key(
    p_license_id uuid,
    p_key_id uuid,
    p_key_digest bytea,
    p_name text,
    p_expires_at timestamptz,
    p_limits jsonb,
    p_idempotency_key text,
    p_fingerprint bytea,
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
    v_key obol.idempotency_keys;
    v_now timestamptz;
    v_limits jsonb;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    IF v_key.cause_id IS NOT NULL THEN
        RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                       FROM obol.license_keys k
                      WHERE k.license_id = p_license_id AND k.key_id = v_key.cause_id;
        RETURN;
    END IF;
    IF p_expires_at <= v_now THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'), HINT = 'Name a later time.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, NULL, p_limits);
    INSERT INTO obol.license_keys (license_id, key_digest, created_at, expires_at, key_id, name, limits)
    VALUES (p_license_id, p_key_digest, v_now, p_expires_at, p_key_id, p_name, v_limits)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, p_key_id);
        END IF;
        PERFORM obol.note_act(p_license_id, v_actor, 'create_key', p_key_id::text, jsonb_build_object(
            'name', p_name, 'expires_at', p_expires_at, 'limits', v_limits), p_request_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.key_digest = p_key_digest;
END
$$;

REVOKE ALL ON FUNCTION obol.create_key(uuid, uuid, bytea, text, timestamptz, jsonb, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_key(uuid, uuid, bytea, text, timestamptz, jsonb, text, bytea, bytea, text) TO obol_service;
