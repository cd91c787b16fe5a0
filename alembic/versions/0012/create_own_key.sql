-- Adds a key that whoever holds a license makes with a key of it (p_key_digest). Once per key id, which the caller makes
-- from its idempotency key: the same again gives the same, and is_new is false.
-- Errors, in order: see check_key_maker; IDEMPOTENCY_KEY_REUSED (the key id is of a key of another name, end or limits),
-- KEYS_NOT_ALLOWED (so many are good already), INVALID_AMOUNT (the time is past, or a limit is none).
CREATE OR REPLACE FUNCTION obol.create_own_key(
    p_license_id uuid,
    p_key_digest bytea,
    p_key_id uuid,
    p_new_digest bytea,
    p_name text,
    p_expires_at timestamptz,
    p_limits jsonb
) RETURNS TABLE (is_new boolean, key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_maker uuid;
    v_limits jsonb := obol.merge_limits(p_license_id, NULL, p_limits);
    v_now timestamptz;
    v_key obol.license_keys;
    v_good bigint;
    v_most integer;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_maker := obol.check_key_maker(p_license_id, p_key_digest, true);
    SELECT k.* INTO v_key FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    IF FOUND THEN
        IF (v_key.name, v_key.expires_at, v_key.limits) IS DISTINCT FROM (p_name, p_expires_at, v_limits) THEN
            RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key made a key with other values'
                USING ERRCODE = 'OB422', HINT = 'Use a new idempotency key for a new key.';
        END IF;
    ELSE
        SELECT count(*) INTO v_good
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL
           AND (k.expires_at IS NULL OR k.expires_at > v_now);
        SELECT l.most_own_keys INTO v_most FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF v_good >= v_most THEN
            RAISE EXCEPTION 'KEYS_NOT_ALLOWED: % keys are good already, and no more may be', v_good
                USING ERRCODE = 'OB453', HINT = 'Revoke one of them first, or ask the operator for more.';
        END IF;
        IF p_expires_at <= v_now THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'), HINT = 'Name a later time.';
        END IF;
        INSERT INTO obol.license_keys (license_id, key_digest, created_at, expires_at, key_id, name, limits, made_by)
        VALUES (p_license_id, p_new_digest, v_now, p_expires_at, p_key_id, p_name, v_limits, v_maker);
    END IF;
    RETURN QUERY SELECT v_key.key_id IS NULL, k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at,
                        k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

REVOKE ALL ON FUNCTION obol.create_own_key(uuid, bytea, uuid, bytea, text, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_own_key(uuid, bytea, uuid, bytea, text, timestamptz, jsonb) TO obol_service;
