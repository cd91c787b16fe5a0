-- What each license says of its ledger and its holds: see verify.
-- NOT MATERIALIZED: on a sharded database what is materialized is read in a snapshot of its own.
CREATE OR REPLACE FUNCTION obol.verify_licenses()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH entry_sums AS NOT MATERIALIZED (
        SELECT s.license_id, sum(s.total) AS total, sum(s.entries) AS entries, max(s.last_no) AS last_no
          FROM (SELECT e.license_id, sum(e.amount) AS total, count(*) AS entries, max(e.entry_no) AS last_no
                  FROM obol.ledger_entries e GROUP BY e.license_id
                UNION ALL
                SELECT a.license_id, a.balance, a.last_entry_no, a.last_entry_no FROM obol.archived a) s
         GROUP BY s.license_id
    ), hold_sums AS NOT MATERIALIZED (
        SELECT h.license_id, sum(h.amount) AS total
          FROM obol.holds h WHERE h.state = 'held' GROUP BY h.license_id
    )
    SELECT l.license_id, 'balance is the sum of the entries',
           format('balance %s, entries sum to %s', l.balance, COALESCE(s.total, 0))
      FROM obol.licenses l LEFT JOIN entry_sums s USING (license_id)
     WHERE l.balance <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, 'held is the sum of the open holds',
           format('held %s, open holds sum to %s', l.held, COALESCE(s.total, 0))
      FROM obol.licenses l LEFT JOIN hold_sums s USING (license_id)
     WHERE l.held <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, '0 <= held <= balance', format('held %s, balance %s', l.held, l.balance)
      FROM obol.licenses l WHERE NOT (0 <= l.held AND l.held <= l.balance)
    UNION ALL
    SELECT l.license_id, 'the entry counter is the last entry number',
           format('counter %s, %s entries, the last is %s', l.entry_count, COALESCE(s.entries, 0), COALESCE(s.last_no, 0))
      FROM obol.licenses l LEFT JOIN entry_sums s USING (license_id)
     WHERE l.entry_count <> COALESCE(s.last_no, 0) OR l.entry_count <> COALESCE(s.entries, 0)
$$;

REVOKE ALL ON FUNCTION obol.verify_licenses() FROM PUBLIC;
