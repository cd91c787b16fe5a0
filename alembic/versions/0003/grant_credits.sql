-- Gives credits that never expire: grant_credits_v2, as the release 0.1.0 called it. The owner's only.
-- "amount" is what was granted and "balance" the one after that, also when the same is asked again.
CREATE OR REPLACE FUNCTION obol.grant_credits(
    p_license_id uuid,
    p_grant_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text
) RETURNS TABLE (grant_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_grant_id uuid;
BEGIN
    SELECT g.grant_id INTO v_grant_id
      FROM obol.grant_credits_v2(p_license_id, p_grant_id, p_amount, 50, NULL, NULL, 'purchase', p_reference,
                                 p_idempotency_key, p_fingerprint, NULL, NULL) g;
    RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'grant' AND e.cause_id = v_grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.grant_credits(uuid, uuid, bigint, text, bytea, text) FROM PUBLIC;
