-- The licenses whose oldest entry is of before a time, by id after p_after (null: from the first), at most p_limit, for
-- prepare_archive. One read: it promises nothing of any of them.
CREATE OR REPLACE FUNCTION obol.due_archives(p_before timestamptz, p_after uuid, p_limit integer)
RETURNS TABLE (license_id uuid)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id
          FROM obol.licenses l
          LEFT JOIN obol.archived a ON a.license_id = l.license_id
          JOIN obol.ledger_entries e ON e.license_id = l.license_id AND e.entry_no = COALESCE(a.last_entry_no, 0) + 1
         WHERE e.created_at < p_before AND (p_after IS NULL OR l.license_id > p_after)
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.due_archives(timestamptz, uuid, integer) FROM PUBLIC;
