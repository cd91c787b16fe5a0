-- What the idempotency keys say of what they name: see verify.
CREATE OR REPLACE FUNCTION obol.verify_idempotency()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.license_id, 'an idempotency key in force names what it did',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.in_force
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND (h.process_id IS NULL OR h.state IN ('held', 'settled')))
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.cause_id = i.cause_id
                          AND e.kind IN ('deduction', 'adjustment'))
       AND NOT EXISTS (SELECT FROM obol.grants g
                        WHERE g.license_id = i.license_id AND g.grant_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = i.license_id AND k.key_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = i.license_id AND r.kind = 'refund' AND r.part_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.payments p
                        WHERE p.license_id = i.license_id AND p.payment_id = i.cause_id)
    UNION ALL
    SELECT i.license_id, 'a freed idempotency key names nothing that was charged',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
      JOIN obol.ledger_entries e ON e.license_id = i.license_id AND e.cause_id = i.cause_id
     WHERE NOT i.in_force AND e.kind IN ('charge', 'deduction', 'grant', 'adjustment')
       -- An answer that was withheld: its charge was given back, and its key freed for a new try.
       AND NOT (e.kind = 'charge'
                AND EXISTS (SELECT FROM obol.ledger_entries r
                             WHERE r.license_id = i.license_id AND r.cause_id = i.cause_id AND r.kind = 'refund'))
    UNION ALL
    -- Where the key is gone or stands for something else, a retry pays again. Only a process's hold that
    -- ended without a charge lets go of its key.
    SELECT h.license_id, 'a keyed hold has its key for thirty days',
           format('hold %s is %s, and its key names %s', h.hold_id, h.state, COALESCE(i.cause_id::text, 'nothing'))
      FROM obol.holds h
      LEFT JOIN obol.idempotency_keys i
             ON i.license_id = h.license_id AND i.scope = 'license' AND i.idempotency_key = h.idempotency_key
     WHERE h.idempotency_key IS NOT NULL
       AND (h.process_id IS NULL OR h.state IN ('held', 'settled'))
       -- A day less than keys live at least: purge_expired may have looked at the clock after this did.
       AND h.opened_at > now() - interval '29 days'
       AND (i.cause_id IS NULL
            OR (h.state = 'held' AND NOT i.in_force)
            -- As above: a new try may have taken the key of an answer that was withheld and paid back.
            OR (i.cause_id <> h.hold_id
                AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                                 WHERE r.license_id = h.license_id AND r.cause_id = h.hold_id AND r.kind = 'refund')))
    UNION ALL
    SELECT i.license_id, 'a stored answer is of a settled hold',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.answer IS NOT NULL
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.process_id IS NOT NULL AND h.state = 'settled')
$$;

REVOKE ALL ON FUNCTION obol.verify_idempotency() FROM PUBLIC;
