-- The rules of verify_ledger for the entries since a time: each against the entry before it, its price and its hold.
CREATE OR REPLACE FUNCTION obol.verify_recent_ledger(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT e.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', e.entry_no,
                  COALESCE((SELECT max(b.entry_no) FROM obol.ledger_entries b
                             WHERE b.license_id = e.license_id AND b.entry_no < e.entry_no), a.last_entry_no, 0))
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
      LEFT JOIN obol.archived a ON a.license_id = e.license_id
     WHERE e.created_at >= p_since AND e.entry_no <> COALESCE(a.last_entry_no, 0) + 1 AND p.entry_no IS NULL
    UNION ALL
    SELECT e.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', e.entry_no, COALESCE(p.balance_after, a.balance, 0), e.amount,
                  COALESCE(p.balance_after, a.balance, 0) + e.amount, e.balance_after)
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
      LEFT JOIN obol.archived a ON a.license_id = e.license_id
     WHERE e.created_at >= p_since AND (e.entry_no = COALESCE(a.last_entry_no, 0) + 1 OR p.entry_no IS NOT NULL)
       AND e.balance_after <> COALESCE(p.balance_after, a.balance, 0) + e.amount
    UNION ALL
    SELECT e.license_id, 'a charge names its hold and carries its key and price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR h.key_id IS DISTINCT FROM e.key_id
            OR (h.process_id IS NOT NULL AND (e.price IS NULL OR e.usage IS NULL)))
    UNION ALL
    SELECT e.license_id, 'a charge is its price times its usage',
           format('entry %s: charged %s, short by %s, price times usage is %s', e.entry_no,
                  -e.amount, e.shortfall, obol.charge_for(e.price, e.usage))
      FROM obol.ledger_entries e
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND e.price IS NOT NULL
       AND e.shortfall - e.amount IS DISTINCT FROM obol.charge_for(e.price, e.usage)
    UNION ALL
    SELECT e.license_id, 'a client is charged what it held at most',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND h.process_id IS NULL
       AND (-e.amount > h.amount OR e.shortfall > 0)
    UNION ALL
    SELECT e.license_id, 'what is short of something took all of its hold',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND e.shortfall > 0 AND -e.amount < h.amount
    UNION ALL
    SELECT r.license_id, 'refunds give back what their entry took at most',
           format('%s were given back, their cause %s took %s', b.amount, r.cause_id, -t.amount)
      FROM (SELECT DISTINCT e.license_id, e.cause_id
              FROM obol.ledger_entries e WHERE e.created_at >= p_since AND e.kind = 'refund') r
     CROSS JOIN LATERAL (SELECT sum(b.amount) AS amount FROM obol.ledger_entries b
                          WHERE b.license_id = r.license_id AND b.kind = 'refund' AND b.cause_id = r.cause_id) b
      LEFT JOIN obol.ledger_entries t
             ON t.license_id = r.license_id AND t.cause_id = r.cause_id AND t.kind IN ('charge', 'deduction')
     WHERE t.amount IS NULL OR b.amount > -t.amount;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_recent_ledger(timestamptz) FROM PUBLIC;
