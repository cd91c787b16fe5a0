-- What the audit trail says of what operators did, and what they did of the trail: see verify. An act is written in
-- the transaction of what it names, so neither is ever there alone. Entries up to audit_starts are of before there was
-- a trail; a deduction's act is only looked at from the act's side, because most have none; and the service itself
-- gives back what it could not deliver. Acts of archived entries are as old as these, and name them no more.
CREATE OR REPLACE FUNCTION obol.verify_acts()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT e.license_id, 'what an operator did to a balance has its act',
           format('entry %s is a %s of %s credits, and no act says so', e.entry_no, e.kind, e.amount)
      FROM obol.ledger_entries e
      LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
     WHERE e.kind IN ('grant', 'adjustment', 'void')
       AND e.entry_no > COALESCE(s.entry_no, 0)
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.license_id = e.license_id AND a.target_id = e.cause_id
                          AND CASE e.kind WHEN 'grant' THEN a.act = 'grant_credits' AND a.amount = e.amount
                                          -- A part of it alone is taken for money that went back.
                                          WHEN 'void' THEN a.act = 'void_grant' OR (a.act = 'take_back' AND a.amount = -e.amount)
                                          ELSE a.act = 'adjust_credits' AND a.amount = e.amount END)
    UNION ALL
    SELECT g.license_id, 'a grant to come has its act',
           format('grant %s is of %s credits from %s on, and no act says so', g.grant_id, g.amount, g.starts_at)
      FROM obol.grants g
     WHERE NOT g.has_started
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.license_id = g.license_id AND a.target_id = g.grant_id
                          AND a.act = 'grant_credits' AND a.amount = g.amount)
    UNION ALL
    SELECT r.license_id, 'a refund has its act',
           format('%s refunds of %s credits for %s, and %s acts', r.refunds, r.amount, r.cause_id, COALESCE(a.acts, 0))
      FROM (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
              FROM obol.ledger_entries e
              LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
              LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
             WHERE e.kind = 'refund' AND e.entry_no > COALESCE(s.entry_no, 0)
               AND NOT (h.process_id IS NOT NULL AND e.reference IS NOT DISTINCT FROM 'answer withheld')
             GROUP BY e.license_id, e.cause_id, e.amount) r
      LEFT JOIN (SELECT a.license_id, a.target_id, a.amount, count(*) AS acts
                   FROM obol.named_acts a WHERE a.act = 'refund' GROUP BY a.license_id, a.target_id, a.amount) a
             ON a.license_id = r.license_id AND a.target_id = r.cause_id AND a.amount = r.amount
     WHERE r.refunds > COALESCE(a.acts, 0)
    UNION ALL
    SELECT a.license_id, 'an act of a refund has its entry',
           format('%s acts of refunds of %s credits for %s, and %s entries', a.acts, a.amount, a.target, COALESCE(r.refunds, 0))
      FROM (SELECT a.license_id, a.target, a.target_id, a.amount, count(*) AS acts
              FROM obol.named_acts a
              LEFT JOIN obol.archived k ON k.license_id = a.license_id
             WHERE a.act = 'refund' AND (a.acted_at <= k.acts_until) IS NOT TRUE
             GROUP BY a.license_id, a.target, a.target_id, a.amount) a
      LEFT JOIN (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
                   FROM obol.ledger_entries e WHERE e.kind = 'refund' GROUP BY e.license_id, e.cause_id, e.amount) r
             ON r.license_id = a.license_id AND r.cause_id = a.target_id AND r.amount = a.amount
     WHERE a.acts > COALESCE(r.refunds, 0)
    UNION ALL
    SELECT a.license_id, 'an act names what it did',
           format('act %s is %s of %s', a.act_no, a.act, concat_ws(' credits to ', a.amount, COALESCE(a.target, 'the license')))
      FROM obol.named_acts a
      LEFT JOIN obol.licenses l ON l.license_id = a.license_id
      LEFT JOIN obol.grants g
             ON a.act IN ('grant_credits', 'void_grant') AND g.license_id = a.license_id AND g.grant_id = a.target_id
      LEFT JOIN obol.ledger_entries e
             ON a.act IN ('adjust_credits', 'deduct') AND e.license_id = a.license_id AND e.cause_id = a.target_id
            AND e.kind = CASE a.act WHEN 'deduct' THEN 'deduction' ELSE 'adjustment' END
      LEFT JOIN obol.license_keys k
             ON a.act IN ('create_key', 'set_key', 'revoke_key', 'rotate_license_key')
            AND k.license_id = a.license_id AND k.key_id = a.target_id
      LEFT JOIN obol.archived o ON o.license_id = a.license_id AND a.acted_at <= o.acts_until
     WHERE CASE a.act WHEN 'grant_credits' THEN (g.amount = a.amount) IS NOT TRUE
                      WHEN 'void_grant' THEN g.voided_at IS NULL
                      WHEN 'adjust_credits' THEN (e.amount = a.amount) IS NOT TRUE AND (e.amount IS NOT NULL OR o.license_id IS NULL)
                      WHEN 'deduct' THEN (-e.amount = a.amount) IS NOT TRUE AND (e.amount IS NOT NULL OR o.license_id IS NULL)
                      WHEN 'revoke_key' THEN k.revoked_at IS NULL
                      WHEN 'create_key' THEN k.key_id IS NULL
                      WHEN 'set_key' THEN k.key_id IS NULL
                      WHEN 'rotate_license_key' THEN k.key_id IS NULL AND a.target IS NOT NULL
                      WHEN 'create_license' THEN l.license_id IS NULL
                      WHEN 'import_license' THEN l.license_id IS NULL
                      WHEN 'set_license' THEN l.license_id IS NULL
                      ELSE false END
    UNION ALL
    SELECT t.license_id, 'a token is as its acts say',
           format('token %s, %s: no act made it so', t.token_id, t.name)
      FROM (SELECT NULL::uuid AS license_id, n.* FROM obol.admin_tokens n) t
     WHERE NOT EXISTS (SELECT FROM obol.admin_acts a
                        WHERE a.detail ->> 'token_id' = t.token_id::text
                          AND CASE WHEN t.is_first THEN a.act = 'register_first_token'
                                   ELSE a.act = 'create_token' AND a.detail -> 'scopes' = to_jsonb(t.scopes) END)
        OR (t.revoked_at IS NULL
            AND EXISTS (SELECT FROM obol.admin_acts a
                         WHERE a.act = 'revoke_token' AND a.detail ->> 'token_id' = t.token_id::text))
$$;

REVOKE ALL ON FUNCTION obol.verify_acts() FROM PUBLIC;
