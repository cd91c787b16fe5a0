-- The licenses of which p_least entries or more are not rolled up yet, at most p_most, for roll_up_usage. Nothing
-- depends on its being called: it only makes the usage cheap to read.
CREATE OR REPLACE FUNCTION obol.due_rollups(p_least integer, p_most integer)
RETURNS TABLE (license_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT l.license_id
                   FROM obol.licenses l
                   LEFT JOIN obol.usage_watermarks w ON w.license_id = l.license_id
                  WHERE l.entry_count - COALESCE(w.entry_no, 0) >= p_least
                  LIMIT p_most;
END
$$;

REVOKE ALL ON FUNCTION obol.due_rollups(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_rollups(integer, integer) TO obol_service;
