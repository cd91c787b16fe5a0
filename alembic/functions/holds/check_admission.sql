-- Everything that open_hold checks but the credits, and nothing is set aside: for a call whose
-- size has to be found out first, at the upstream. outcome: 'replayed' as in open_hold, or
-- 'checked' with what is available.
-- Errors: those of open_hold, in its order, but INSUFFICIENT_CREDITS.
CREATE OR REPLACE FUNCTION obol.check_admission(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_model text,
    p_price jsonb,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_max_unpaid_tokens bigint
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id, p_idempotency_key, p_fingerprint) r;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id);
    PERFORM obol.check_limits(p_license_id, p_key_digest, p_model, 0, 0, 1, clock_timestamp());
    RETURN QUERY SELECT 'checked', NULL::uuid, NULL::bigint, NULL::text, NULL::timestamptz,
                        obol.admissible_amount(p_license_id, 0, NULL, p_model, p_price IS NOT NULL,
                                               p_max_unpaid_tokens),
                        NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

REVOKE ALL ON FUNCTION obol.check_admission(uuid, bytea, uuid, text, jsonb, text, bytea, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.check_admission(uuid, bytea, uuid, text, jsonb, text, bytea, bigint) TO obol_service;
