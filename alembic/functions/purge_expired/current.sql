-- Forgets what has had its time: stored answers past their time to live, idempotency keys
-- claimed over p_key_days ago (but for those of a running call), and leases that lapsed over
-- a day ago. Ledger entries and holds stay. Returns how many answers and keys it forgot.
CREATE OR REPLACE FUNCTION obol.purge_expired(
    p_batch_size integer DEFAULT 1000,
    p_key_days integer DEFAULT 30
) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_answers integer;
    v_keys integer;
BEGIN
    UPDATE obol.idempotency_keys i
       SET answer = NULL, answer_expires_at = NULL
      FROM (SELECT k.license_id, k.scope, k.idempotency_key FROM obol.idempotency_keys k
             WHERE k.answer_expires_at <= v_now
             ORDER BY 1, 2, 3 LIMIT p_batch_size FOR UPDATE SKIP LOCKED) old
     WHERE (i.license_id, i.scope, i.idempotency_key) = (old.license_id, old.scope, old.idempotency_key);
    GET DIAGNOSTICS v_answers = ROW_COUNT;

    DELETE FROM obol.idempotency_keys i
     USING (SELECT k.license_id, k.scope, k.idempotency_key FROM obol.idempotency_keys k
             WHERE k.claimed_at <= v_now - make_interval(days => p_key_days)
               AND NOT EXISTS (SELECT FROM obol.holds h
                                WHERE h.license_id = k.license_id AND h.hold_id = k.cause_id
                                  AND h.state = 'held')
             ORDER BY 1, 2, 3 LIMIT p_batch_size FOR UPDATE SKIP LOCKED) old
     WHERE (i.license_id, i.scope, i.idempotency_key) = (old.license_id, old.scope, old.idempotency_key);
    GET DIAGNOSTICS v_keys = ROW_COUNT;

    DELETE FROM obol.processes p
     WHERE p.lease_expires_at < v_now - interval '1 day';
    RETURN v_answers + v_keys;
END
$$;

REVOKE ALL ON FUNCTION obol.purge_expired(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.purge_expired(integer, integer) TO obol_service;
