-- What this migration replaced, as the migrations before it had it.

-- The grants that a charge, a deduction or an adjustment drew on, the last one first, with how much
-- came from each; before: from those listed before it. Between two changes of the set of grants the
-- balance only falls, so each entry's place in it says whose credits they were.
-- Only the allotted uses, and nothing for an entry of before grants had lifetimes.
CREATE OR REPLACE FUNCTION obol.list_draws(p_license_id uuid, p_cause_id uuid)
RETURNS TABLE (grant_id uuid, amount bigint, before bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
        SELECT d.grant_id, d.amount, (sum(d.amount) OVER (ORDER BY d.balance_to))::bigint - d.amount
          FROM (SELECT a.grant_id, a.balance_to,
                       LEAST(a.balance_from, e.balance_after - e.amount) - GREATEST(a.balance_to, e.balance_after) AS amount
                  FROM obol.ledger_entries e
                  JOIN obol.allotments a
                    ON a.license_id = p_license_id AND a.last_entry_no >= e.entry_no AND a.first_entry_no <= e.entry_no
                 WHERE e.license_id = p_license_id AND e.cause_id = p_cause_id
                   AND e.kind IN ('charge', 'deduction', 'adjustment') AND e.amount < 0
                   AND a.first_entry_no > 0 AND a.balance_from > a.balance_to
                   AND a.balance_from > e.balance_after AND a.balance_to < e.balance_after - e.amount) d
         ORDER BY d.balance_to;
END
$$;

REVOKE ALL ON FUNCTION obol.list_draws(uuid, uuid) FROM PUBLIC;

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
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
