-- The grants that a charge, a deduction or an adjustment drew on, the last one first, with how much
-- came from each; before: from those listed before it. Between two changes of the set of grants the
-- balance only falls, so each entry's place in it says whose credits they were.
-- What is not allotted yet falls upon the open grants as it will once it is. Nothing for an entry of before
-- grants had lifetimes.
CREATE OR REPLACE FUNCTION obol.list_draws(p_license_id uuid, p_cause_id uuid)
RETURNS TABLE (grant_id uuid, amount bigint, before bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c_last constant bigint := 9223372036854775807;
    v_allotted bigint;
    v_left bigint;
BEGIN
    SELECT l.allotted_entry_no INTO v_allotted FROM obol.licenses l WHERE l.license_id = p_license_id;
    -- Where the balance was at the last change of the set: so far down it is all of an open grant.
    SELECT sum(g.credits_left) INTO v_left FROM obol.grants g
     WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0;
    RETURN QUERY
        SELECT d.grant_id, d.amount, (sum(d.amount) OVER (ORDER BY d.balance_to))::bigint - d.amount
          FROM (SELECT a.grant_id, a.balance_to,
                       LEAST(a.balance_from, e.balance_after - e.amount) - GREATEST(a.balance_to, e.balance_after) AS amount
                  FROM obol.ledger_entries e
                  JOIN (SELECT a.grant_id, a.first_entry_no, a.last_entry_no, a.balance_from, a.balance_to
                          FROM obol.allotments a WHERE a.license_id = p_license_id
                        UNION ALL
                        SELECT o.grant_id, v_allotted + 1, c_last, v_left - o.before, v_left - o.before - o.credits_left
                          FROM obol.list_open_grants(p_license_id) o) a
                    ON a.last_entry_no >= e.entry_no AND a.first_entry_no <= e.entry_no
                 WHERE e.license_id = p_license_id AND e.cause_id = p_cause_id
                   AND e.kind IN ('charge', 'deduction', 'adjustment') AND e.amount < 0
                   AND a.first_entry_no > 0 AND a.balance_from > a.balance_to
                   AND a.balance_from > e.balance_after AND a.balance_to < e.balance_after - e.amount) d
         ORDER BY d.balance_to;
END
$$;

REVOKE ALL ON FUNCTION obol.list_draws(uuid, uuid) FROM PUBLIC;
