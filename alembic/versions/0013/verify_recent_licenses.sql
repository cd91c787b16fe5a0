-- The rules of verify_licenses, verify_limits and verify_usage for the licenses of recent_licenses, without adding
-- their entries up: the last one says what they come to, when each follows the one before it.
CREATE OR REPLACE FUNCTION obol.verify_recent_licenses(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'balance is the sum of the entries',
           format('balance %s, it was %s after entry %s', l.balance, COALESCE(e.balance_after, a.balance, 0),
                  COALESCE(e.entry_no, a.last_entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN obol.archived a ON a.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.balance_after, n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.balance <> COALESCE(e.balance_after, a.balance, 0)
    UNION ALL
    SELECT l.license_id, 'the entry counter is the last entry number',
           format('counter %s, the last is %s', l.entry_count, COALESCE(e.entry_no, a.last_entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN obol.archived a ON a.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.entry_count <> COALESCE(e.entry_no, a.last_entry_no, 0)
    UNION ALL
    SELECT l.license_id, 'held is the sum of the open holds',
           format('held %s, open holds sum to %s', l.held, COALESCE(s.total, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN (SELECT h.license_id, sum(h.amount) AS total
                   FROM obol.holds h WHERE h.state = 'held' GROUP BY h.license_id) s ON s.license_id = r.id
     WHERE l.held <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, '0 <= held <= balance', format('held %s, balance %s', l.held, l.balance)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
     WHERE NOT (0 <= l.held AND l.held <= l.balance)
    UNION ALL
    SELECT s.license_id, 'the open holds of a limit are those that count in it',
           format('%s of %s, and %s holds are open', s.open_holds, s.subject_id, COALESCE(h.holds, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.limit_states s ON s.license_id = r.id
      LEFT JOIN (SELECT o.license_id, u.subject_id, count(*) AS holds
                   FROM obol.holds o CROSS JOIN LATERAL unnest(o.limited_by) AS u (subject_id)
                  WHERE o.state = 'held' GROUP BY o.license_id, u.subject_id) h
             ON h.license_id = s.license_id AND h.subject_id = s.subject_id
     WHERE s.open_holds <> COALESCE(h.holds, 0)
    UNION ALL
    SELECT w.license_id, 'no usage is rolled up that is not in the ledger',
           format('rolled up to entry %s of %s', w.entry_no, l.entry_count)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      JOIN obol.usage_watermarks w ON w.license_id = r.id
     WHERE w.entry_no > l.entry_count;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_recent_licenses(timestamptz) FROM PUBLIC;
