-- The grants of a license that have credits left and have started, in the order in which they burn:
-- by priority, then the earliest end, then the oldest. before: what the ones ahead of it have left;
-- used: what of it was used since the last change of the set, and is not yet allotted.
CREATE OR REPLACE FUNCTION obol.list_open_grants(p_license_id uuid)
RETURNS TABLE (grant_id uuid, credits_left bigint, before bigint, used bigint, ends_at timestamptz, kind text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_used bigint;
BEGIN
    -- The credits are alike, so to share out the sum is the same as to share out each use.
    SELECT sum(g.credits_left) - max(l.balance) INTO v_used
      FROM obol.grants g
      JOIN obol.licenses l ON l.license_id = g.license_id
     WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0;
    RETURN QUERY
        SELECT o.grant_id, o.credits_left, o.before, LEAST(o.credits_left, GREATEST(0, v_used - o.before)),
               LEAST(o.voided_at, o.expires_at),
               CASE WHEN o.voided_at IS NULL OR o.voided_at >= o.expires_at THEN 'expiry' ELSE 'void' END
          FROM (SELECT g.*, (sum(g.credits_left) OVER burn)::bigint - g.credits_left AS before,
                       row_number() OVER burn AS place
                  FROM obol.grants g
                 WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0
                WINDOW burn AS (ORDER BY g.priority, COALESCE(g.expires_at, 'infinity'), g.created_at, g.grant_id)) o
         ORDER BY o.place;
END
$$;

REVOKE ALL ON FUNCTION obol.list_open_grants(uuid) FROM PUBLIC;
