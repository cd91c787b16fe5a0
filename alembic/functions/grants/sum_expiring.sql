-- The credits of all licenses that end unused before p_before if nobody uses more, and how many licenses these are of.
-- What was used since the last change of a license's grants is taken off in the order in which they burn: see
-- list_open_grants. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.sum_expiring(p_before timestamptz, p_token_digest bytea, p_request_id text)
RETURNS TABLE (credits numeric, licenses bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT COALESCE(sum(o.ending), 0), count(DISTINCT o.license_id)
          FROM (SELECT b.license_id, b.credits_left - LEAST(b.credits_left, GREATEST(0, b.used - b.before)) AS ending
                  FROM (SELECT g.license_id, g.credits_left, g.expires_at, g.voided_at,
                               sum(g.credits_left) OVER burn - g.credits_left AS before,
                               sum(g.credits_left) OVER (PARTITION BY g.license_id) - l.balance AS used
                          FROM obol.grants g
                          JOIN obol.licenses l ON l.license_id = g.license_id
                         WHERE g.has_started AND g.credits_left > 0
                           AND g.license_id IN (
                               SELECT e.license_id FROM obol.grants e
                                WHERE e.credits_left > 0 AND e.voided_at IS NULL
                                  AND e.expires_at > v_now AND e.expires_at < p_before)
                        WINDOW burn AS (PARTITION BY g.license_id ORDER BY g.priority,
                                        COALESCE(g.expires_at, 'infinity'), g.created_at, g.grant_id)) b
                 WHERE b.voided_at IS NULL AND b.expires_at > v_now AND b.expires_at < p_before) o
         WHERE o.ending > 0;
END
$$;

REVOKE ALL ON FUNCTION obol.sum_expiring(timestamptz, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.sum_expiring(timestamptz, bytea, text) TO obol_service;
