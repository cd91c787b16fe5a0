-- The licenses whose set of grants has changed and that nobody has asked for since, at most p_most, for
-- bring_up_to_date. Nothing depends on its being called: it only makes the entries timely.
CREATE OR REPLACE FUNCTION obol.due_changes(p_most integer DEFAULT 1000)
RETURNS TABLE (license_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT l.license_id FROM obol.licenses l
                  WHERE l.next_change_at <= clock_timestamp() AND l.next_change_at < 'infinity'
                  ORDER BY l.next_change_at LIMIT p_most;
END
$$;

REVOKE ALL ON FUNCTION obol.due_changes(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_changes(integer) TO obol_service;
