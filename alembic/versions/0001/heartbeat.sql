-- Renews the lease of a process for p_lease_s seconds from now (0 ends it: a clean shutdown),
-- and returns the database's time.
CREATE OR REPLACE FUNCTION obol.heartbeat(p_process_id uuid, p_lease_s double precision)
RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.processes AS p (process_id, lease_expires_at, started_at)
    VALUES (p_process_id, v_now + make_interval(secs => p_lease_s), v_now)
    ON CONFLICT (process_id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at;
    RETURN v_now;
END
$$;

REVOKE ALL ON FUNCTION obol.heartbeat(uuid, double precision) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.heartbeat(uuid, double precision) TO obol_service;
