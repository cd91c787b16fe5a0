-- Corrects a balance: adjust_credits_v2, as the release 0.1.0 called it. The owner's only.
CREATE OR REPLACE FUNCTION obol.adjust_credits(
    p_license_id uuid,
    p_adjustment_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reason text
) RETURNS TABLE (adjustment_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    RETURN QUERY SELECT a.* FROM obol.adjust_credits_v2(p_license_id, p_adjustment_id, p_amount, p_reason,
                                                        p_idempotency_key, p_fingerprint, NULL, NULL) a;
END
$$;

REVOKE ALL ON FUNCTION obol.adjust_credits(uuid, uuid, bigint, text, bytea, text) FROM PUBLIC;
