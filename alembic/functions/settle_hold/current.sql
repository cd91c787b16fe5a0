-- settle_within without a limit, for the release before this one; it goes with the next.
CREATE OR REPLACE FUNCTION obol.settle_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_amount bigint,
    p_usage jsonb,
    p_answer bytea,
    p_answer_ttl_s integer
) RETURNS TABLE (charge bigint, shortfall bigint, balance bigint, amount bigint, expires_at timestamptz)
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
    SELECT * FROM obol.settle_within(p_license_id, p_key_digest, p_hold_id, p_process_id, p_amount,
                                     p_usage, p_answer, p_answer_ttl_s, NULL)
$$;

REVOKE ALL ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer) TO obol_service;
