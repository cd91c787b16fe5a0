-- What the entries say of each other, of their prices and of their holds: see verify. The first one follows the last one
-- that is archived.
-- NOT MATERIALIZED: on a sharded database what is materialized is read in a snapshot of its own.
CREATE OR REPLACE FUNCTION obol.verify_ledger()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH chain AS NOT MATERIALIZED (
        SELECT e.*,
               COALESCE(lag(e.entry_no) OVER w, a.last_entry_no, 0) AS entry_no_before,
               COALESCE(lag(e.balance_after) OVER w, a.balance, 0) AS balance_before
          FROM obol.ledger_entries e
          LEFT JOIN obol.archived a ON a.license_id = e.license_id
        WINDOW w AS (PARTITION BY e.license_id ORDER BY e.entry_no)
    )
    SELECT c.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', c.entry_no, c.entry_no_before)
      FROM chain c WHERE c.entry_no <> c.entry_no_before + 1
    UNION ALL
    SELECT c.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', c.entry_no, c.balance_before, c.amount,
                  c.balance_before + c.amount, c.balance_after)
      FROM chain c WHERE c.balance_after <> c.balance_before + c.amount
    UNION ALL
    SELECT e.license_id, 'a charge names its hold and carries its key and price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR h.key_id IS DISTINCT FROM e.key_id
            OR (h.process_id IS NOT NULL AND (e.price IS NULL OR e.usage IS NULL)))
    UNION ALL
    SELECT e.license_id, 'a charge is its price times its usage',
           format('entry %s: charged %s, short by %s, price times usage is %s', e.entry_no,
                  -e.amount, e.shortfall, obol.charge_for(e.price, e.usage))
      FROM obol.ledger_entries e
     WHERE e.kind = 'charge' AND e.price IS NOT NULL
       AND e.shortfall - e.amount IS DISTINCT FROM obol.charge_for(e.price, e.usage)
    UNION ALL
    SELECT e.license_id, 'a client is charged what it held at most',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge' AND h.process_id IS NULL AND (-e.amount > h.amount OR e.shortfall > 0)
    UNION ALL
    SELECT e.license_id, 'what is short of something took all of its hold',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge' AND e.shortfall > 0 AND -e.amount < h.amount
    UNION ALL
    SELECT r.license_id, 'refunds give back what their entry took at most',
           format('%s were given back, their cause %s took %s', r.amount, r.cause_id, -e.amount)
      FROM (SELECT r.license_id, r.cause_id, sum(r.amount) AS amount
              FROM obol.ledger_entries r WHERE r.kind = 'refund' GROUP BY r.license_id, r.cause_id) r
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = r.license_id AND e.cause_id = r.cause_id AND e.kind IN ('charge', 'deduction')
     WHERE e.amount IS NULL OR r.amount > -e.amount
$$;

REVOKE ALL ON FUNCTION obol.verify_ledger() FROM PUBLIC;
