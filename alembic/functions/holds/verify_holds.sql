-- What the holds say of their charges, and of who will end them: see verify.
CREATE OR REPLACE FUNCTION obol.verify_holds()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has %s', h.hold_id, h.state, count(e.entry_no))
      FROM obol.holds h
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = h.license_id AND e.cause_id = h.hold_id AND e.kind = 'charge'
     GROUP BY h.license_id, h.hold_id, h.state
    HAVING count(e.entry_no) <> (h.state = 'settled')::integer
    UNION ALL
    SELECT h.license_id, 'a delivered answer is paid for',
           format('hold %s is %s and was delivered at %s', h.hold_id, h.state, h.delivered_at)
      FROM obol.holds h WHERE h.delivered_at IS NOT NULL AND h.state <> 'settled'
    UNION ALL
    -- Any living process gives back what is due within a minute. A day is for a service that was stopped.
    SELECT h.license_id, 'an open hold is of a process or a client, and not long overdue',
           format('hold %s of process %s was due at %s', h.hold_id, COALESCE(h.process_id::text, 'none'),
                  COALESCE(h.expires_at, p.lease_expires_at))
      FROM obol.holds h
      LEFT JOIN obol.processes p ON p.process_id = h.process_id
     WHERE h.state = 'held'
       -- Null for a process that is not there: purge_expired keeps the lease of every open hold.
       AND (COALESCE(h.expires_at, p.lease_expires_at) < now() - interval '1 day') IS NOT FALSE
$$;

REVOKE ALL ON FUNCTION obol.verify_holds() FROM PUBLIC;
