-- Hold and settle in one step. One call a deduction id: asked again with the same id, or with
-- the same idempotency key and fingerprint, it gives the first result and charges nothing.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, IDEMPOTENCY_KEY_REUSED, ANSWER_GONE (it was
-- refunded since), those of check_limits, and those of
-- admissible_amount; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.deduct(
    p_license_id uuid,
    p_key_digest bytea,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    RETURN QUERY SELECT d.* FROM obol.book_deduction(p_license_id, p_key_digest, p_deduction_id, p_amount,
                                                     p_idempotency_key, p_fingerprint, p_reference, true) d;
END
$$;

REVOKE ALL ON FUNCTION obol.deduct(uuid, bytea, uuid, bigint, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct(uuid, bytea, uuid, bigint, text, bytea, text) TO obol_service;
