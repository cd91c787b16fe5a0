-- What the grants say of the balance, of their entries and of what was allotted to them: see verify.
CREATE OR REPLACE FUNCTION obol.verify_grants()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.license_id, 'the balance is what the grants have left, less what was used since',
           format('balance %s, grants have %s left, %s was used since entry %s', l.balance, g.credits_left, u.used,
                  l.allotted_entry_no)
      FROM obol.licenses l
     CROSS JOIN LATERAL (SELECT COALESCE(sum(g.credits_left), 0) AS credits_left FROM obol.grants g
                          WHERE g.license_id = l.license_id AND g.has_started) g
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS used FROM obol.ledger_entries e
                          WHERE e.license_id = l.license_id AND e.entry_no > l.allotted_entry_no) u
     WHERE l.balance <> g.credits_left - u.used
    UNION ALL
    SELECT e.license_id, 'what changes the set of grants is allotted at once',
           format('entry %s is a %s, and entries are allotted up to %s', e.entry_no, e.kind, l.allotted_entry_no)
      FROM obol.ledger_entries e JOIN obol.licenses l USING (license_id)
     WHERE e.entry_no > l.allotted_entry_no AND (e.amount > 0 OR e.kind NOT IN ('charge', 'deduction', 'adjustment'))
    UNION ALL
    SELECT g.license_id, 'a grant is what is left, what lapsed and what was drawn',
           format('grant %s of %s: %s left, %s lapsed, %s drawn', g.grant_id, g.amount, g.credits_left, g.lapsed,
                  COALESCE(a.drawn, 0) + g.archived_drawn)
      FROM obol.grants g
      LEFT JOIN (SELECT a.license_id, a.grant_id, sum(a.balance_from - a.balance_to) AS drawn
                   FROM obol.allotments a GROUP BY a.license_id, a.grant_id) a USING (license_id, grant_id)
     WHERE g.amount <> g.credits_left + g.lapsed + COALESCE(a.drawn, 0) + g.archived_drawn
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, COALESCE(e.taken, 0) + g.archived_lapsed)
      FROM obol.grants g
      LEFT JOIN (SELECT e.license_id, e.cause_id, -sum(e.amount) AS taken
                   FROM obol.ledger_entries e WHERE e.kind IN ('expiry', 'void') GROUP BY e.license_id, e.cause_id) e
             ON e.license_id = g.license_id AND e.cause_id = g.grant_id
     WHERE COALESCE(e.taken, 0) + g.archived_lapsed <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
    UNION ALL
    SELECT g.license_id, 'a grant that has started has its entry, and no other has one',
           format('grant %s of %s: %s entries', g.grant_id, g.amount, e.entries + g.archived_starts)
      FROM obol.grants g
     CROSS JOIN LATERAL (SELECT count(*) AS entries FROM obol.ledger_entries e
                          WHERE e.license_id = g.license_id
                            AND ((e.kind IN ('grant', 'adjustment') AND e.cause_id = g.grant_id AND e.amount = g.amount)
                                 OR (g.reason = 'refund' AND e.kind = 'refund' AND e.part_id = g.grant_id))) e
     WHERE e.entries + g.archived_starts <> g.has_started::integer
    UNION ALL
    SELECT e.license_id, 'an entry that gives or takes credits of a grant names one',
           format('entry %s is a %s of %s', e.entry_no, e.kind, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE (e.kind IN ('grant', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0)) AND g.grant_id IS NULL
    UNION ALL
    SELECT a.license_id, 'what was used in a span of entries is allotted, and no more',
           format('entries %s to %s: %s allotted', a.first_entry_no, a.last_entry_no, a.drawn)
      FROM (SELECT a.license_id, a.first_entry_no, a.last_entry_no, sum(a.balance_from - a.balance_to) AS drawn
              FROM obol.allotments a WHERE a.first_entry_no > 0
             GROUP BY a.license_id, a.first_entry_no, a.last_entry_no) a
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS used FROM obol.ledger_entries e
                          WHERE e.license_id = a.license_id
                            AND e.entry_no BETWEEN a.first_entry_no AND a.last_entry_no) e
      LEFT JOIN obol.ledger_entries r
             ON r.license_id = a.license_id AND r.entry_no = a.last_entry_no AND r.kind = 'refund'
     WHERE a.drawn <> e.used
       -- Of a refund, what came from before grants had lifetimes is a grant of its own.
       AND NOT (r.part_id IS NOT NULL AND EXISTS (SELECT FROM obol.grants g
                                                   WHERE g.license_id = r.license_id AND g.grant_id = r.part_id
                                                     AND a.drawn - e.used = g.amount))
    UNION ALL
    SELECT l.license_id, 'the next change of the grants is not missed',
           format('next change at %s, a grant changes at %s', l.next_change_at, g.next_change_at)
      FROM obol.licenses l
     CROSS JOIN LATERAL (SELECT min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at)
                                         ELSE g.starts_at END) AS next_change_at
                           FROM obol.grants g WHERE g.license_id = l.license_id AND g.credits_left > 0) g
     WHERE l.next_change_at > g.next_change_at
$$;

REVOKE ALL ON FUNCTION obol.verify_grants() FROM PUBLIC;
