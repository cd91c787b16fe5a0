-- The licenses with grants that are about to expire and have not been told of, at most p_most, for tell_expiring: in the
-- last seven days of a grant, or of a short one in the last quarter of its time.
CREATE OR REPLACE FUNCTION obol.due_expiring(p_most integer DEFAULT 1000)
RETURNS TABLE (license_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY SELECT DISTINCT g.license_id FROM obol.grants g
                  WHERE g.credits_left > 0 AND g.expires_at IS NOT NULL AND g.voided_at IS NULL
                    AND g.expiry_told_at IS NULL
                    AND g.expires_at > v_now AND g.expires_at <= v_now + interval '7 days'
                    AND g.starts_at + (g.expires_at - g.starts_at) * 0.75 <= v_now
                  LIMIT p_most;
END
$$;

REVOKE ALL ON FUNCTION obol.due_expiring(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_expiring(integer) TO obol_service;
