-- The invariants of the ledger, checked in one statement and so in one snapshot: a row for
-- each thing that disagrees, none when all is well.
CREATE OR REPLACE FUNCTION obol.verify()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    WITH entry_sums AS (
        SELECT e.license_id, sum(e.amount) AS total, count(*) AS entries, max(e.entry_no) AS last_no
          FROM obol.ledger_entries e GROUP BY e.license_id
    ), hold_sums AS (
        SELECT h.license_id, sum(h.amount) AS total
          FROM obol.holds h WHERE h.state = 'held' GROUP BY h.license_id
    ), chain AS (
        SELECT e.*,
               lag(e.entry_no, 1, 0::bigint) OVER w AS entry_no_before,
               lag(e.balance_after, 1, 0::bigint) OVER w AS balance_before
          FROM obol.ledger_entries e
        WINDOW w AS (PARTITION BY e.license_id ORDER BY e.entry_no)
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
    UNION ALL
    SELECT c.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', c.entry_no, c.entry_no_before)
      FROM chain c WHERE c.entry_no <> c.entry_no_before + 1
    UNION ALL
    SELECT c.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', c.entry_no, c.balance_before, c.amount,
                  c.balance_before + c.amount, c.balance_after)
      FROM chain c WHERE c.balance_after <> c.balance_before + c.amount
    UNION ALL
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has %s', h.hold_id, h.state, count(e.entry_no))
      FROM obol.holds h
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = h.license_id AND e.cause_id = h.hold_id AND e.kind = 'charge'
     GROUP BY h.license_id, h.hold_id, h.state
    HAVING count(e.entry_no) <> (h.state = 'settled')::integer
    UNION ALL
    SELECT e.license_id, 'a charge names its hold and carries its price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR (h.process_id IS NOT NULL AND (e.price IS NULL OR e.usage IS NULL)))
    UNION ALL
    SELECT e.license_id, 'a charge is its price times its usage',
           format('entry %s: charged %s, short by %s, price times usage is %s', e.entry_no,
                  -e.amount, e.shortfall, obol.charge_for(e.price, e.usage))
      FROM obol.ledger_entries e
     WHERE e.kind = 'charge' AND e.price IS NOT NULL
       AND e.shortfall - e.amount IS DISTINCT FROM obol.charge_for(e.price, e.usage)
    UNION ALL
    SELECT h.license_id, 'a delivered answer is paid for',
           format('hold %s is %s and was delivered at %s', h.hold_id, h.state, h.delivered_at)
      FROM obol.holds h WHERE h.delivered_at IS NOT NULL AND h.state <> 'settled'
    UNION ALL
    SELECT e.license_id, 'a client is charged what it held at most',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge' AND h.process_id IS NULL AND (-e.amount > h.amount OR e.shortfall > 0)
    UNION ALL
    SELECT r.license_id, 'a refund gives back what its entry took',
           format('entry %s: %s, its cause %s took %s', r.entry_no, r.amount, r.cause_id, -e.amount)
      FROM obol.ledger_entries r
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = r.license_id AND e.cause_id = r.cause_id AND e.kind IN ('charge', 'deduction')
     WHERE r.kind = 'refund' AND r.amount IS DISTINCT FROM -e.amount
    UNION ALL
    SELECT i.license_id, 'an idempotency key in force names what it did',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.in_force
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND (h.process_id IS NULL OR h.state IN ('held', 'settled')))
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.cause_id = i.cause_id
                          AND e.kind IN ('deduction', 'grant'))
    UNION ALL
    SELECT i.license_id, 'a freed idempotency key names nothing that was charged',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
      JOIN obol.ledger_entries e ON e.license_id = i.license_id AND e.cause_id = i.cause_id
     WHERE NOT i.in_force AND e.kind IN ('charge', 'deduction', 'grant')
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = i.license_id AND r.cause_id = i.cause_id AND r.kind = 'refund')
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.verify() TO obol_service;
