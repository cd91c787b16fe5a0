-- How many entries of a license are in the archive, and no more in the tables, and the time of the newest of them: no row
-- where none are. Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.show_archived(p_license_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text)
RETURNS TABLE (entries bigint, until timestamptz)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY SELECT a.last_entry_no, a.last_entry_at FROM obol.archived a WHERE a.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.show_archived(uuid, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_archived(uuid, bytea, bytea, text) TO obol_service;
