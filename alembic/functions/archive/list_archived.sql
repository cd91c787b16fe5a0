-- How far licenses are archived, by id after p_after (null: from the first), at most p_limit: the balance after the last
-- entry, and the digest over the digests of their files.
CREATE OR REPLACE FUNCTION obol.list_archived(p_after uuid, p_limit integer)
RETURNS TABLE (license_id uuid, last_entry_no bigint, balance bigint, digest bytea)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT a.license_id, a.last_entry_no, a.balance, a.digest
          FROM obol.archived a
         WHERE p_after IS NULL OR a.license_id > p_after
         ORDER BY a.license_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_archived(uuid, integer) FROM PUBLIC;
