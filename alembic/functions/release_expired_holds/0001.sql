-- Gives back, as 'expired', up to p_batch_size holds of clients whose time has come, of
-- processes whose lease has lapsed, and orphans of the calling process: those of its holds,
-- opened before p_orphans_before, that are not among p_live_holds. Returns how many; the
-- caller asks again until it returns 0.
-- Several licenses in one transaction: locked in ascending order, skipping what is busy. When
-- all are busy it waits for the first alone, or a license in constant use would never get its
-- credits back; but not for long, because the caller has a lease to renew.
CREATE OR REPLACE FUNCTION obol.release_expired_holds(
    p_batch_size integer DEFAULT 100,
    p_process_id uuid DEFAULT NULL,
    p_live_holds uuid[] DEFAULT '{}',
    p_orphans_before timestamptz DEFAULT NULL
) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_due uuid[];
    v_locked uuid[];
    v_hold obol.holds;
    v_released integer := 0;
BEGIN
    SELECT array_agg(DISTINCT h.license_id ORDER BY h.license_id) INTO v_due
      FROM obol.holds h
     WHERE h.state = 'held'
       AND obol.is_due(h, v_now, p_process_id, p_live_holds, p_orphans_before);

    SELECT array_agg(s.license_id) INTO v_locked
      FROM (SELECT l.license_id FROM obol.licenses l
             WHERE l.license_id = ANY (v_due)
             ORDER BY l.license_id LIMIT p_batch_size
               FOR NO KEY UPDATE SKIP LOCKED) s;
    IF v_locked IS NULL AND v_due IS NOT NULL THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = v_due[1] FOR NO KEY UPDATE;
        v_locked := v_due[1:1];
    END IF;

    FOR v_hold IN
        UPDATE obol.holds u
           SET state = 'expired', ended_at = clock_timestamp()
          FROM (SELECT h.license_id, h.hold_id FROM obol.holds h
                 WHERE h.license_id = ANY (v_locked) AND h.state = 'held'
                   AND obol.is_due(h, v_now, p_process_id, p_live_holds, p_orphans_before)
                 ORDER BY h.license_id, h.hold_id LIMIT p_batch_size) due
         WHERE u.license_id = due.license_id AND u.hold_id = due.hold_id AND u.state = 'held'
        RETURNING u.*
    LOOP
        UPDATE obol.licenses l SET held = l.held - v_hold.amount WHERE l.license_id = v_hold.license_id;
        PERFORM obol.free_key(v_hold);
        v_released := v_released + 1;
    END LOOP;
    RETURN v_released;
END
$$;

REVOKE ALL ON FUNCTION obol.release_expired_holds(integer, uuid, uuid[], timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.release_expired_holds(integer, uuid, uuid[], timestamptz) TO obol_service;
