-- Forgets what has had its time: stored answers past their time to live, idempotency keys
-- claimed over p_key_days ago (but for those of a running call), and leases that lapsed over
-- a day ago. Ledger entries and holds stay. Returns how many answers and keys it forgot.
-- A batch is bounded by the time of its last row, found by a read: a write with a LIMIT, or with
-- locks over many licenses, could not run on a sharded database.
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
    v_bound timestamptz;
    v_answers integer;
    v_keys integer;
BEGIN
    SELECT max(k.answer_expires_at) INTO v_bound
      FROM (SELECT i.answer_expires_at FROM obol.idempotency_keys i
             WHERE i.answer_expires_at <= v_now
             ORDER BY i.answer_expires_at LIMIT p_batch_size) k;
    UPDATE obol.idempotency_keys i
       SET answer = NULL, answer_expires_at = NULL
     WHERE i.answer_expires_at <= v_bound;
    GET DIAGNOSTICS v_answers = ROW_COUNT;

    SELECT max(k.claimed_at) INTO v_bound
      FROM (SELECT i.claimed_at FROM obol.idempotency_keys i
             WHERE i.claimed_at <= v_now - make_interval(days => p_key_days)
               AND NOT EXISTS (SELECT FROM obol.holds h
                                WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                                  AND h.state = 'held')
             ORDER BY i.claimed_at LIMIT p_batch_size) k;
    DELETE FROM obol.idempotency_keys i
     WHERE i.claimed_at <= v_bound
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.state = 'held');
    GET DIAGNOSTICS v_keys = ROW_COUNT;

    DELETE FROM obol.processes p
     WHERE p.lease_expires_at < v_now - interval '1 day';
    RETURN v_answers + v_keys;
END
$$;

REVOKE ALL ON FUNCTION obol.purge_expired(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.purge_expired(integer, integer) TO obol_service;
