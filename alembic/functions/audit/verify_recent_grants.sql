-- The rules of verify_grants for the licenses that something was booked for since a time, without adding their entries
-- up, and for the grants that entries name since then.
CREATE OR REPLACE FUNCTION obol.verify_recent_grants(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'the balance is what the grants have left, less what was used since',
           format('grants have %s left, the balance was %s after entry %s', g.credits_left,
                  COALESCE(a.balance_after, k.balance, 0), l.allotted_entry_no)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      -- What was used since then is what the balance has fallen by, as the entries chain.
      LEFT JOIN obol.ledger_entries a ON a.license_id = r.id AND a.entry_no = l.allotted_entry_no
      LEFT JOIN obol.archived k ON k.license_id = r.id AND k.last_entry_no = l.allotted_entry_no
     CROSS JOIN LATERAL (SELECT COALESCE(sum(g.credits_left), 0) AS credits_left FROM obol.grants g
                          WHERE g.license_id = r.id AND g.has_started AND g.credits_left > 0) g
     WHERE g.credits_left <> COALESCE(a.balance_after, k.balance, 0)
    UNION ALL
    SELECT e.license_id, 'what changes the set of grants is allotted at once',
           format('entry %s is a %s, and entries are allotted up to %s', e.entry_no, e.kind, l.allotted_entry_no)
      FROM obol.ledger_entries e JOIN obol.licenses l ON l.license_id = e.license_id
     WHERE e.created_at >= p_since
       AND e.entry_no > l.allotted_entry_no AND (e.amount > 0 OR e.kind NOT IN ('charge', 'deduction', 'adjustment'))
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, t.taken + g.archived_lapsed)
      FROM (SELECT DISTINCT e.license_id, e.cause_id FROM obol.ledger_entries e
             WHERE e.created_at >= p_since AND e.kind IN ('expiry', 'void')) e
      JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     CROSS JOIN LATERAL (SELECT -sum(t.amount) AS taken FROM obol.ledger_entries t
                          WHERE t.license_id = e.license_id AND t.kind IN ('expiry', 'void') AND t.cause_id = e.cause_id) t
     WHERE t.taken + g.archived_lapsed <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
    UNION ALL
    SELECT e.license_id, 'a grant that has started has its entry, and no other has one',
           format('entry %s is a %s of %s credits, grant %s is of %s', e.entry_no, e.kind, e.amount, g.grant_id, g.amount)
      FROM obol.ledger_entries e
      JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since AND (e.kind = 'grant' OR (e.kind = 'adjustment' AND e.amount > 0))
       AND NOT (g.has_started AND g.amount = e.amount)
    UNION ALL
    SELECT e.license_id, 'an entry that gives or takes credits of a grant names one',
           format('entry %s is a %s of %s', e.entry_no, e.kind, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since
       AND (e.kind IN ('grant', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0)) AND g.grant_id IS NULL
    UNION ALL
    SELECT l.license_id, 'the next change of the grants is not missed',
           format('next change at %s, a grant changes at %s', l.next_change_at, g.next_change_at)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
     CROSS JOIN LATERAL (SELECT min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at)
                                         ELSE g.starts_at END) AS next_change_at
                           FROM obol.grants g WHERE g.license_id = r.id AND g.credits_left > 0) g
     WHERE l.next_change_at > g.next_change_at;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_recent_grants(timestamptz) FROM PUBLIC;
