-- The rules of verify_acts for the entries, grants, tokens and acts since a time. The act of what was booked since then
-- is of since then too, but for an hour by which a clock may have been put back in between.
CREATE OR REPLACE FUNCTION obol.verify_recent_acts(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_acts_since timestamptz := p_since - interval '1 hour';
BEGIN
    RETURN QUERY
    SELECT e.license_id, 'what an operator did to a balance has its act',
           format('entry %s is a %s of %s credits, and no act says so', e.entry_no, e.kind, e.amount)
      FROM obol.ledger_entries e
      LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind IN ('grant', 'adjustment', 'void')
       AND e.entry_no > COALESCE(s.entry_no, 0)
       -- What was announced before, or is held and was voided before, has its act there.
       AND (e.kind = 'adjustment' OR CASE e.kind WHEN 'void' THEN g.voided_at ELSE g.created_at END >= p_since)
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.acted_at >= v_acts_since
                          AND a.license_id = e.license_id AND a.target_id = e.cause_id
                          AND a.act = CASE e.kind WHEN 'grant' THEN 'grant_credits' WHEN 'void' THEN 'void_grant'
                                                  ELSE 'adjust_credits' END
                          AND (e.kind = 'void' OR a.amount = e.amount))
    UNION ALL
    SELECT r.license_id, 'a refund has its act',
           format('%s refunds of %s credits for %s, and %s acts', r.refunds, r.amount, r.cause_id, COALESCE(a.acts, 0))
      FROM (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
              FROM obol.ledger_entries e
              LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
              LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
             WHERE e.created_at >= p_since AND e.kind = 'refund' AND e.entry_no > COALESCE(s.entry_no, 0)
               AND NOT (h.process_id IS NOT NULL AND e.reference IS NOT DISTINCT FROM 'answer withheld')
             GROUP BY e.license_id, e.cause_id, e.amount) r
      LEFT JOIN (SELECT a.license_id, a.target_id, a.amount, count(*) AS acts
                   FROM obol.named_acts a WHERE a.acted_at >= v_acts_since AND a.act = 'refund'
                  GROUP BY a.license_id, a.target_id, a.amount) a
             ON a.license_id = r.license_id AND a.target_id = r.cause_id AND a.amount = r.amount
     WHERE r.refunds > COALESCE(a.acts, 0)
    UNION ALL
    SELECT a.license_id, 'an act names what it did',
           format('act %s is %s of %s', a.act_no, a.act, concat_ws(' credits to ', a.amount, COALESCE(a.target, 'the license')))
      FROM obol.named_acts a
     WHERE a.acted_at >= p_since
       AND CASE WHEN a.act = 'grant_credits' THEN
                     NOT EXISTS (SELECT FROM obol.grants g
                                  WHERE g.license_id = a.license_id AND g.grant_id = a.target_id AND g.amount = a.amount)
                WHEN a.act = 'void_grant' THEN
                     NOT EXISTS (SELECT FROM obol.grants g
                                  WHERE g.license_id = a.license_id AND g.grant_id = a.target_id AND g.voided_at IS NOT NULL)
                WHEN a.act IN ('adjust_credits', 'deduct', 'refund') THEN
                     NOT EXISTS (SELECT FROM obol.ledger_entries e
                                  WHERE e.license_id = a.license_id AND e.cause_id = a.target_id
                                    AND e.kind = CASE a.act WHEN 'deduct' THEN 'deduction' WHEN 'refund' THEN 'refund'
                                                            ELSE 'adjustment' END
                                    AND e.amount = CASE a.act WHEN 'deduct' THEN -a.amount ELSE a.amount END)
                     AND NOT EXISTS (SELECT FROM obol.archived o
                                      WHERE o.license_id = a.license_id AND a.acted_at <= o.acts_until)
                ELSE false END
    UNION ALL
    SELECT t.license_id, 'a token is as its acts say', format('token %s, %s: no act made it so', t.token_id, t.name)
      FROM (SELECT NULL::uuid AS license_id, n.* FROM obol.admin_tokens n WHERE n.created_at >= p_since) t
     WHERE NOT EXISTS (SELECT FROM obol.admin_acts a
                        WHERE a.acted_at >= v_acts_since AND a.detail ->> 'token_id' = t.token_id::text
                          AND CASE WHEN t.is_first THEN a.act = 'register_first_token'
                                   ELSE a.act = 'create_token' AND a.detail -> 'scopes' = to_jsonb(t.scopes) END);
END
$$;

REVOKE ALL ON FUNCTION obol.verify_recent_acts(timestamptz) FROM PUBLIC;
