-- Whether an open hold is to be given back: a client's when its time has come, a process's when
-- the lease of the process has lapsed, and one of the calling process's own when it is an orphan,
-- opened before p_orphans_before and not among p_live_holds.
CREATE OR REPLACE FUNCTION obol.is_due(
    p_hold obol.holds,
    p_now timestamptz,
    p_process_id uuid,
    p_live_holds uuid[],
    p_orphans_before timestamptz
) RETURNS boolean
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
               WHEN p_hold.process_id IS NULL THEN p_hold.expires_at <= p_now
               WHEN p_hold.process_id = p_process_id THEN
                   p_hold.opened_at < p_orphans_before AND p_hold.hold_id <> ALL (p_live_holds)
               ELSE NOT EXISTS (SELECT FROM obol.processes p
                                 WHERE p.process_id = p_hold.process_id AND p.lease_expires_at > p_now)
           END
$$;

REVOKE ALL ON FUNCTION obol.is_due(obol.holds, timestamptz, uuid, uuid[], timestamptz) FROM PUBLIC;
