-- Adds a key to a license and lets the ones before it end p_overlap_s seconds from now, so
-- that clients can change over without a gap. Once per digest: the same again changes nothing.
-- Returns when the keys before it end.
-- Errors: INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.rotate_license_key(
    p_license_id uuid,
    p_key_digest bytea,
    p_overlap_s integer
) RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz;
    v_ends_at timestamptz;
BEGIN
    -- The license row's lock serialises two rotations; its balance is not read.
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    v_now := clock_timestamp();
    v_ends_at := v_now + make_interval(secs => p_overlap_s);

    INSERT INTO obol.license_keys (license_id, key_digest, created_at)
    VALUES (p_license_id, p_key_digest, v_now)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE obol.license_keys k
           SET expires_at = v_ends_at
         WHERE k.license_id = p_license_id AND k.key_digest <> p_key_digest
           AND (k.expires_at IS NULL OR k.expires_at > v_ends_at);
    ELSE
        SELECT k.created_at + make_interval(secs => p_overlap_s) INTO v_ends_at
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    END IF;
    RETURN v_ends_at;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_license_key(uuid, bytea, integer) FROM PUBLIC;
