-- Makes a license with one key and, if p_credits is above 0, a first grant, which needs the scope for grants
-- too: or a token that may only manage licenses would make credits. Once per license id; the caller derives
-- the id from the idempotency key when there is one. "created" says whether the key of this digest opens it:
-- false when an earlier call made it with another key, which was shown then and is nowhere stored; key_id
-- is the first key's in either case. p_limits: those of the license.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT (credits or a limit), IDEMPOTENCY_KEY_REUSED, ALREADY_EXISTS (another license
-- has the external id).
CREATE OR REPLACE FUNCTION obol.create_license_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_name text,
    p_expires_at timestamptz,
    p_credits bigint,
    p_external_id text,
    p_limits jsonb,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, balance bigint, created boolean, key_id uuid)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    ELSIF p_credits > 0 THEN
        PERFORM obol.check_token(p_token_digest, 'grant');
    END IF;

    INSERT INTO obol.licenses (license_id, name, expires_at, fingerprint, created_at, limits)
    VALUES (p_license_id, p_name, p_expires_at, p_fingerprint, clock_timestamp(),
            obol.merge_limits(p_license_id, NULL, p_limits))
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO obol.license_keys (license_id, key_digest, created_at)
        VALUES (p_license_id, p_key_digest, clock_timestamp());
        IF p_external_id IS NOT NULL THEN
            INSERT INTO obol.external_ids (external_id, license_id)
            VALUES (p_external_id, p_license_id)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'ALREADY_EXISTS: another license has the external id %', p_external_id
                    USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'external_id'),
                          HINT = 'Look that license up by it, or use another one.';
            END IF;
        END IF;
        IF p_credits > 0 THEN
            PERFORM obol.grant_credits_v2(p_license_id, p_license_id, p_credits, 50, NULL, NULL, 'purchase', 'opening grant',
                                          NULL, NULL, p_token_digest, p_request_id);
        END IF;
        PERFORM obol.note_act(p_license_id, v_actor, 'create_license', NULL, jsonb_build_object(
            'name', p_name, 'credits', p_credits, 'expires_at', p_expires_at, 'external_id', p_external_id, 'limits', p_limits), p_request_id);
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
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest),
               (SELECT k.key_id FROM obol.license_keys k WHERE k.license_id = p_license_id
                 ORDER BY k.created_at, k.key_id LIMIT 1)
          FROM obol.licenses l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.create_license_v2(uuid, bytea, text, timestamptz, bigint, text, jsonb, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_license_v2(uuid, bytea, text, timestamptz, bigint, text, jsonb, bytea, bytea, text) TO obol_service;
