-- What this migration replaced, as the migrations before it had it.

-- Ends the holds of one license that due_holds named, as 'expired', and frees their idempotency
-- keys. What has ended since is passed over. Returns how many it ended; 40001: ask again.
-- A process whose lease had lapsed may have renewed it since due_holds looked. Its hold expires
-- all the same: from the lapse on it could have at any moment, and settle_hold settles such a
-- hold once, if nobody took its place.
CREATE OR REPLACE FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Short, because the caller has other licenses to see to, and a lease to renew.
SET lock_timeout = '500ms'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_given_back bigint;
    v_ended bigint := 0;
    v_count integer := 0;
BEGIN
    -- License first, then hold, as everywhere. The sum may be stale after a wait for this lock:
    -- it is compared below with what was ended, and taken back where the two differ.
    UPDATE obol.licenses l
       SET held = l.held - due.amount
      FROM (SELECT sum(h.amount)::bigint AS amount
              FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
               AND (h.expires_at IS NULL OR h.expires_at <= v_now)) due
     WHERE l.license_id = p_license_id AND l.held >= due.amount
    RETURNING due.amount INTO v_given_back;

    FOR v_hold IN
        UPDATE obol.holds h
           SET state = 'expired', ended_at = v_now
         WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
           AND (h.expires_at IS NULL OR h.expires_at <= v_now)
        RETURNING h.*
    LOOP
        PERFORM obol.free_idempotency_key(v_hold);
        IF v_hold.limited_by IS NOT NULL THEN
            PERFORM obol.count_end(v_hold, -v_hold.amount, -1);
        END IF;
        v_ended := v_ended + v_hold.amount;
        v_count := v_count + 1;
    END LOOP;
    IF v_ended <> COALESCE(v_given_back, 0) THEN
        PERFORM obol.ask_again('a hold ended');
    END IF;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.expire_holds(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.expire_holds(uuid, uuid[]) TO obol_service;
