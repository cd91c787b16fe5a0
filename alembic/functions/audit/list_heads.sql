-- How many entries licenses have, sorted by id after p_after (null: from the first), at most p_limit; and
-- up to which entry there was no audit trail.
CREATE OR REPLACE FUNCTION obol.list_heads(p_after uuid, p_limit integer)
RETURNS TABLE (license_id uuid, entries bigint, unaudited bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id, l.entry_count, COALESCE(s.entry_no, 0)
          FROM obol.licenses l
          LEFT JOIN obol.audit_starts s ON s.license_id = l.license_id
         WHERE p_after IS NULL OR l.license_id > p_after
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_heads(uuid, integer) FROM PUBLIC;
