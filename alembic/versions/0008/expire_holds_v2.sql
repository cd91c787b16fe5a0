-- Ends the holds of one license that due_holds named, as 'expired', and frees their idempotency
-- keys. What has ended since is passed over. Returns how many it ended; 40001: ask again.
-- It looks by itself whether a hold may be ended, for whoever calls has only to know its id: a client's when its time has
-- come; a process's when it is p_process_id (null: nobody), which so gives its own back, or when its lease has lapsed. A
-- lease that was renewed since due_holds looked saves the hold; one that is renewed while this runs need not, because
-- from the lapse on the hold could have expired at any moment, and settle_hold settles such a hold once, if nobody
-- took its place.
CREATE OR REPLACE FUNCTION obol.expire_holds_v2(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Short, because the caller has other licenses to see to, and a lease to renew.
SET lock_timeout = '500ms'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_alive uuid[];
    v_due uuid[];
    v_hold obol.holds;
    v_given_back bigint;
    v_ended bigint := 0;
    v_count integer := 0;
BEGIN
    SELECT COALESCE(array_agg(p.process_id), '{}') INTO v_alive
      FROM obol.processes p WHERE p.lease_expires_at > v_now;
    -- Nothing that makes a hold due passes again, so this need not be looked at under the lock.
    SELECT COALESCE(array_agg(h.hold_id), '{}') INTO v_due
      FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
       AND CASE WHEN h.process_id IS NULL THEN h.expires_at <= v_now
                WHEN h.process_id = p_process_id THEN true
                -- What was opened after v_now may belong to a process that began after it.
                ELSE h.opened_at < v_now AND h.process_id <> ALL (v_alive)
           END;

    -- License first, then hold, as everywhere. The sum may be stale after a wait for this lock:
    -- it is compared below with what was ended, and taken back where the two differ.
    UPDATE obol.licenses l
       SET held = l.held - due.amount
      FROM (SELECT sum(h.amount)::bigint AS amount
              FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = ANY (v_due) AND h.state = 'held') due
     WHERE l.license_id = p_license_id AND l.held >= due.amount
    RETURNING due.amount INTO v_given_back;

    FOR v_hold IN
        UPDATE obol.holds h
           SET state = 'expired', ended_at = v_now
         WHERE h.license_id = p_license_id AND h.hold_id = ANY (v_due) AND h.state = 'held'
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

REVOKE ALL ON FUNCTION obol.expire_holds_v2(uuid, uuid[], uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.expire_holds_v2(uuid, uuid[], uuid) TO obol_service;
