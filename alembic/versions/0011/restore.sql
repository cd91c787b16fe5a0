-- What this migration replaced, as the migrations before it had it.

-- What the audit trail says of what operators did, and what they did of the trail: see verify. An act is written in
-- the transaction of what it names, so neither is ever there alone. Entries up to audit_starts are of before there was
-- a trail; a deduction's act is only looked at from the act's side, because most have none; and the service itself
-- gives back what it could not deliver.
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
                          AND a.act = CASE e.kind WHEN 'grant' THEN 'grant_credits' WHEN 'void' THEN 'void_grant'
                                                  ELSE 'adjust_credits' END
                          AND (e.kind = 'void' OR a.amount = e.amount))
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
              FROM obol.named_acts a WHERE a.act = 'refund' GROUP BY a.license_id, a.target, a.target_id, a.amount) a
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
     WHERE CASE a.act WHEN 'grant_credits' THEN (g.amount = a.amount) IS NOT TRUE
                      WHEN 'void_grant' THEN g.voided_at IS NULL
                      WHEN 'adjust_credits' THEN (e.amount = a.amount) IS NOT TRUE
                      WHEN 'deduct' THEN (-e.amount = a.amount) IS NOT TRUE
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

-- The grants of a license as they are now, whether or not the last uses are allotted yet.
-- state: 'scheduled', 'active', 'used_up', 'expired' or 'voided'. What has ended and is left is
-- covered by a hold.
CREATE OR REPLACE FUNCTION obol.describe_grants(p_license_id uuid)
RETURNS TABLE (grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint,
               starts_at timestamptz, expires_at timestamptz, state text, reason text, reference text,
               created_at timestamptz)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        SELECT g.grant_id, g.amount, g.credits_left - COALESCE(o.used, 0), g.lapsed, g.priority,
               g.starts_at, g.expires_at,
               CASE WHEN g.voided_at IS NOT NULL THEN 'voided'
                    WHEN g.credits_left = COALESCE(o.used, 0) AND g.lapsed = 0 THEN 'used_up'
                    WHEN g.expires_at <= v_now THEN 'expired'
                    WHEN g.starts_at > v_now THEN 'scheduled'
                    ELSE 'active' END,
               g.reason, g.reference, g.created_at
          FROM obol.grants g
          LEFT JOIN obol.list_open_grants(p_license_id) o ON o.grant_id = g.grant_id
         WHERE g.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.describe_grants(uuid) FROM PUBLIC;

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

-- The invariants of the ledger, a function a room: a row for each thing that disagrees, none when
-- all is well. All of them are STABLE, so that they read in the one snapshot of this statement.
CREATE OR REPLACE FUNCTION obol.verify()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.license_id, l.rule, l.detail FROM obol.verify_licenses() l
    UNION ALL
    SELECT e.license_id, e.rule, e.detail FROM obol.verify_ledger() e
    UNION ALL
    SELECT h.license_id, h.rule, h.detail FROM obol.verify_holds() h
    UNION ALL
    SELECT i.license_id, i.rule, i.detail FROM obol.verify_idempotency() i
    UNION ALL
    SELECT g.license_id, g.rule, g.detail FROM obol.verify_grants() g
    UNION ALL
    SELECT c.license_id, c.rule, c.detail FROM obol.verify_limits() c
    UNION ALL
    SELECT u.license_id, u.rule, u.detail FROM obol.verify_usage() u
    UNION ALL
    SELECT a.license_id, a.rule, a.detail FROM obol.verify_acts() a
    UNION ALL
    SELECT k.license_id, k.rule, k.detail FROM obol.verify_imported_keys() k
    UNION ALL
    SELECT n.license_id, n.rule, n.detail FROM obol.verify_events() n
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
