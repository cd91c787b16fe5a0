-- The holds that are to be given back, at most p_most, by license in ascending order: a client's
-- when its time has come; a process's when the lease of the process has lapsed; and orphans of
-- the calling process, opened before p_orphans_before and not among p_live_holds.
-- One read without a lock; expire_holds ends them, a license at a time.
CREATE OR REPLACE FUNCTION obol.due_holds(
    p_process_id uuid,
    p_live_holds uuid[],
    p_orphans_before timestamptz,
    p_most integer DEFAULT 1000
) RETURNS TABLE (license_id uuid, hold_ids uuid[])
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_alive uuid[];
BEGIN
    SELECT COALESCE(array_agg(p.process_id), '{}') INTO v_alive
      FROM obol.processes p WHERE p.lease_expires_at > v_now;
    RETURN QUERY
        SELECT due.license_id, array_agg(due.hold_id)
          FROM (SELECT h.license_id, h.hold_id
                  FROM obol.holds h
                 WHERE h.state = 'held'
                   AND CASE
                           WHEN h.process_id IS NULL THEN h.expires_at <= v_now
                           WHEN h.process_id = p_process_id THEN
                               h.opened_at < p_orphans_before AND h.hold_id <> ALL (p_live_holds)
                           -- What was opened after v_now may belong to a process that began after it.
                           ELSE h.opened_at < v_now AND h.process_id <> ALL (v_alive)
                       END
                 ORDER BY h.license_id, h.hold_id LIMIT p_most) due
         GROUP BY due.license_id
         ORDER BY due.license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.due_holds(uuid, uuid[], timestamptz, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_holds(uuid, uuid[], timestamptz, integer) TO obol_service;
