-- How many entries licenses have, sorted by id after p_after (null: from the first), at most p_limit; and
-- up to which entry there was no audit trail; and how many of them are archived, with the digest of their files.
CREATE OR REPLACE FUNCTION obol.list_heads(p_after uuid, p_limit integer)
RETURNS TABLE (license_id uuid, entries bigint, unaudited bigint, archived bigint, archived_digest bytea)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id, l.entry_count, COALESCE(s.entry_no, 0), COALESCE(a.last_entry_no, 0), a.digest
          FROM obol.licenses l
          LEFT JOIN obol.audit_starts s ON s.license_id = l.license_id
          LEFT JOIN obol.archived a ON a.license_id = l.license_id
         WHERE p_after IS NULL OR l.license_id > p_after
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_heads(uuid, integer) FROM PUBLIC;
