-- The processes that have a lease, or had one that has lapsed within a day, the newest first: until when the lease is
-- good (seconds from now, below 0 when it has lapsed), and how many holds are open in it. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_processes(p_token_digest bytea, p_request_id text)
RETURNS TABLE (process_id uuid, started_at timestamptz, lease_expires_at timestamptz, lease_left_s double precision,
               open_holds bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT p.process_id, p.started_at, p.lease_expires_at,
               extract(epoch FROM p.lease_expires_at - v_now)::double precision,
               COALESCE(o.holds, 0)
          FROM obol.processes p
          LEFT JOIN (SELECT h.process_id, count(*) AS holds
                       FROM obol.holds h WHERE h.state = 'held' GROUP BY h.process_id) o
            ON o.process_id = p.process_id
         WHERE p.lease_expires_at > v_now - interval '1 day'
         ORDER BY p.started_at DESC, p.process_id
         LIMIT 200;
END
$$;

REVOKE ALL ON FUNCTION obol.list_processes(bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_processes(bytea, text) TO obol_service;
