-- What was granted before grants had lifetimes never expires, and was used oldest first: as much as
-- is missing from the balance.
INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started, reason,
                         reference, created_at)
SELECT g.license_id, g.cause_id, g.amount, g.amount - LEAST(g.amount, GREATEST(0, g.used - g.before)),
       50, g.created_at, true, CASE g.kind WHEN 'grant' THEN 'purchase' ELSE 'adjustment' END, g.reference, g.created_at
  FROM (SELECT e.*,
               sum(e.amount) OVER (PARTITION BY e.license_id ORDER BY e.created_at, e.cause_id) - e.amount AS before,
               sum(e.amount) OVER (PARTITION BY e.license_id) - l.balance AS used
          FROM obol.ledger_entries e
          JOIN obol.licenses l USING (license_id)
         WHERE e.kind IN ('grant', 'adjustment') AND e.amount > 0) g;

INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
SELECT g.license_id, g.grant_id, 0, l.entry_count, g.amount, g.credits_left
  FROM obol.grants g
  JOIN obol.licenses l USING (license_id)
 WHERE g.credits_left < g.amount;

UPDATE obol.licenses l SET allotted_entry_no = l.entry_count WHERE l.entry_count > 0;
