-- The files of a license's archived entries, and their SHA-256, in the order of the entries.
CREATE OR REPLACE FUNCTION obol.list_archive_files(p_license_id uuid)
RETURNS TABLE (first_entry_no bigint, last_entry_no bigint, file_digest bytea)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT f.first_entry_no, f.last_entry_no, f.file_digest
          FROM obol.archived_files f
         WHERE f.license_id = p_license_id
         ORDER BY f.last_entry_no;
END
$$;

REVOKE ALL ON FUNCTION obol.list_archive_files(uuid) FROM PUBLIC;
