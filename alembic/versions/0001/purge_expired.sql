-- Forgets what has had its time: stored answers past their time to live; holds that ended without a
-- charge over p_key_days ago, with the idempotency keys that name them; idempotency keys claimed over
-- p_key_days ago (but for those of a running call); and leases that lapsed over a day ago (but for
-- those of open holds). Ledger entries and settled holds stay. Returns how many answers, holds and
-- keys it forgot.
-- The service's login may call this, so neither argument can do harm: a key that went early would
-- let a retry pay again.
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
    v_batch_size integer := LEAST(GREATEST(p_batch_size, 1), 10000);
    v_old timestamptz := v_now - make_interval(days => LEAST(GREATEST(p_key_days, 30), 36500));
    v_bound timestamptz;
    v_answers integer;
    v_hold_keys integer;
    v_holds integer;
    v_keys integer;
    v_needed uuid[];
BEGIN
    SELECT max(k.answer_expires_at) INTO v_bound
      FROM (SELECT i.answer_expires_at FROM obol.idempotency_keys i
             WHERE i.answer_expires_at <= v_now
             ORDER BY i.answer_expires_at LIMIT v_batch_size) k;
    UPDATE obol.idempotency_keys i
       SET answer = NULL, answer_expires_at = NULL
     WHERE i.answer_expires_at <= v_bound;
    GET DIAGNOSTICS v_answers = ROW_COUNT;

    -- The keys go first, or one would name nothing. What is settled late meanwhile is no longer
    -- 'expired', and where its key is gone already, book_charge refuses it.
    SELECT max(e.ended_at) INTO v_bound
      FROM (SELECT h.ended_at FROM obol.holds h
             WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_old
             ORDER BY h.ended_at LIMIT v_batch_size) e;
    DELETE FROM obol.idempotency_keys i
     USING obol.holds h
     WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_bound
       AND i.license_id = h.license_id AND i.scope = 'license'
       AND i.idempotency_key = h.idempotency_key AND i.cause_id = h.hold_id;
    GET DIAGNOSTICS v_hold_keys = ROW_COUNT;
    DELETE FROM obol.holds h
     WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_bound;
    GET DIAGNOSTICS v_holds = ROW_COUNT;

    SELECT max(k.claimed_at) INTO v_bound
      FROM (SELECT i.claimed_at FROM obol.idempotency_keys i
             WHERE i.claimed_at <= v_old
               AND NOT EXISTS (SELECT FROM obol.holds h
                                WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                                  AND h.state = 'held')
             ORDER BY i.claimed_at LIMIT v_batch_size) k;
    DELETE FROM obol.idempotency_keys i
     WHERE i.claimed_at <= v_bound
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.state = 'held');
    GET DIAGNOSTICS v_keys = ROW_COUNT;

    SELECT COALESCE(array_agg(DISTINCT h.process_id) FILTER (WHERE h.process_id IS NOT NULL), '{}') INTO v_needed
      FROM obol.holds h WHERE h.state = 'held';
    DELETE FROM obol.processes p
     WHERE p.lease_expires_at < v_now - interval '1 day' AND p.process_id <> ALL (v_needed);
    RETURN v_answers + v_hold_keys + v_holds + v_keys;
END
$$;

REVOKE ALL ON FUNCTION obol.purge_expired(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.purge_expired(integer, integer) TO obol_service;
