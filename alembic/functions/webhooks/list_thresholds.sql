-- The thresholds of a license in credits, those in percent of what its balance was after the last top-up. One that was
-- said twice is one.
CREATE OR REPLACE FUNCTION obol.list_thresholds(p_alerts jsonb, p_base bigint)
RETURNS TABLE (threshold bigint, percent bigint)
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT c.value::bigint, NULL::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'credits', '[]')) c
        UNION
        SELECT (p_base::numeric * c.value::bigint / 100)::bigint, c.value::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'percent', '[]')) c;
END
$$;

REVOKE ALL ON FUNCTION obol.list_thresholds(jsonb, bigint) FROM PUBLIC;
