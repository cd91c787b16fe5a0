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
                    -- A part of it was taken back, and the rest is used up.
                    WHEN g.credits_left = COALESCE(o.used, 0) THEN 'used_up'
                    ELSE 'active' END,
               g.reason, g.reference, g.created_at
          FROM obol.grants g
          LEFT JOIN obol.list_open_grants(p_license_id) o ON o.grant_id = g.grant_id
         WHERE g.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.describe_grants(uuid) FROM PUBLIC;
