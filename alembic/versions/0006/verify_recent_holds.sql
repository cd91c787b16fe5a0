-- The rules of verify_holds and verify_idempotency for what is open, what was charged since a time, what ended unpaid
-- since then, and the idempotency keys that were claimed since then.
CREATE OR REPLACE FUNCTION obol.verify_recent_holds(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has entry %s', h.hold_id, h.state, e.entry_no)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND h.state <> 'settled'
    UNION ALL
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has entry %s', h.hold_id, h.state, e.entry_no)
      FROM obol.holds h
      JOIN obol.ledger_entries e ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
     WHERE (h.state = 'held' OR (h.state IN ('released', 'expired') AND h.ended_at >= p_since))
       -- Or the branch above has it.
       AND e.created_at < p_since
    UNION ALL
    SELECT h.license_id, 'a delivered answer is paid for',
           format('hold %s is %s and was delivered at %s', h.hold_id, h.state, h.delivered_at)
      FROM obol.holds h
     WHERE (h.state = 'held' OR (h.state IN ('released', 'expired') AND h.ended_at >= p_since))
       AND h.delivered_at IS NOT NULL
    UNION ALL
    SELECT h.license_id, 'an open hold is of a process or a client, and not long overdue',
           format('hold %s of process %s was due at %s', h.hold_id, COALESCE(h.process_id::text, 'none'),
                  COALESCE(h.expires_at, p.lease_expires_at))
      FROM obol.holds h
      LEFT JOIN obol.processes p ON p.process_id = h.process_id
     WHERE h.state = 'held'
       AND (COALESCE(h.expires_at, p.lease_expires_at) < now() - interval '1 day') IS NOT FALSE
    UNION ALL
    SELECT h.license_id, 'a keyed hold has its key for thirty days',
           format('hold %s is %s, and its key names %s', h.hold_id, h.state, COALESCE(i.cause_id::text, 'nothing'))
      FROM (SELECT o.* FROM obol.holds o WHERE o.state = 'held'
             UNION ALL
            SELECT c.* FROM obol.ledger_entries e
              JOIN obol.holds c ON c.license_id = e.license_id AND c.hold_id = e.cause_id
             WHERE e.created_at >= p_since AND e.kind = 'charge' AND c.state = 'settled') h
      LEFT JOIN obol.idempotency_keys i
             ON i.license_id = h.license_id AND i.scope = 'license' AND i.idempotency_key = h.idempotency_key
     WHERE h.idempotency_key IS NOT NULL
       AND h.opened_at > now() - interval '29 days'
       AND (i.cause_id IS NULL
            OR (h.state = 'held' AND NOT i.in_force)
            OR (i.cause_id <> h.hold_id
                AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                                 WHERE r.license_id = h.license_id AND r.cause_id = h.hold_id AND r.kind = 'refund')))
    UNION ALL
    SELECT i.license_id, 'an idempotency key in force names what it did',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.claimed_at >= p_since AND i.in_force
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND (h.process_id IS NULL OR h.state IN ('held', 'settled')))
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.kind IN ('deduction', 'adjustment')
                          AND e.cause_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.grants g
                        WHERE g.license_id = i.license_id AND g.grant_id = i.cause_id)
       -- Of an operator alone: for a refund's id there is no index.
       AND NOT (i.scope = 'operator'
                AND EXISTS (SELECT FROM obol.ledger_entries r
                             WHERE r.license_id = i.license_id AND r.kind = 'refund' AND r.part_id = i.cause_id))
    UNION ALL
    SELECT i.license_id, 'a stored answer is of a settled hold',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.claimed_at >= p_since AND i.answer IS NOT NULL
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.process_id IS NOT NULL AND h.state = 'settled');
END
$$;

REVOKE ALL ON FUNCTION obol.verify_recent_holds(timestamptz) FROM PUBLIC;
