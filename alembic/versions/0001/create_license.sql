-- Makes a license with one key and, if p_credits is above 0, a first grant. Once per license
-- id; the caller derives the id from the idempotency key when there is one. "created" says
-- whether the key of this digest opens it: false when an earlier call made it with another
-- key, which was shown then and is nowhere stored.
-- Errors: INVALID_AMOUNT, IDEMPOTENCY_KEY_REUSED.
CREATE OR REPLACE FUNCTION obol.create_license(
    p_license_id uuid,
    p_key_digest bytea,
    p_name text,
    p_expires_at timestamptz,
    p_credits bigint,
    p_fingerprint bytea
) RETURNS TABLE (license_id uuid, balance bigint, created boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    END IF;

    INSERT INTO obol.licenses (license_id, name, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_expires_at, p_fingerprint, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO obol.license_keys (license_id, key_digest, created_at)
        VALUES (p_license_id, p_key_digest, clock_timestamp());
        IF p_credits > 0 THEN
            PERFORM obol.grant_credits(p_license_id, p_license_id, p_credits, NULL, NULL, 'opening grant');
        END IF;
    ELSE
        PERFORM FROM obol.licenses l
          WHERE l.license_id = p_license_id AND l.fingerprint = p_fingerprint;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key made a license with other values'
                USING ERRCODE = 'OB422', HINT = 'Use a new key for a new license.';
        END IF;
    END IF;
    RETURN QUERY
        SELECT l.license_id, l.balance,
               EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest)
          FROM obol.licenses l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.create_license(uuid, bytea, text, timestamptz, bigint, bytea) FROM PUBLIC;
