-- The charges of the last seven days whose answers have not reached their clients and never will, and that nobody has told
-- of, by license, of p_most holds at most, for tell_undelivered: their process is gone, or has not noted the delivery within an hour.
CREATE OR REPLACE FUNCTION obol.due_undelivered(p_most integer DEFAULT 1000)
RETURNS TABLE (license_id uuid, hold_ids uuid[])
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
          FROM (SELECT u.license_id, u.hold_id
                  FROM obol.undelivered_holds u
                  JOIN obol.holds h ON h.license_id = u.license_id AND h.hold_id = u.hold_id
                 WHERE u.settled_at > v_now - interval '7 days'
                   AND (u.settled_at <= v_now - interval '1 hour' OR h.process_id <> ALL (v_alive))
                   AND NOT EXISTS (SELECT FROM obol.events e
                                    WHERE e.license_id = u.license_id AND e.type = 'answer.undelivered'
                                      AND e.cause_id = u.hold_id)
                 ORDER BY u.license_id, u.hold_id LIMIT GREATEST(p_most, 0)) due
         GROUP BY due.license_id
         ORDER BY due.license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.due_undelivered(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_undelivered(integer) TO obol_service;
