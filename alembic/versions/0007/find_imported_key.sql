-- The license that an imported key opens, by the digest of the key: null when none was imported with it. Whether it
-- opens it still is for license_keys to say, as with any key. are_any: whether any key was ever imported, so that
-- who asks can spare itself the asking. Always one row, and no error.
CREATE OR REPLACE FUNCTION obol.find_imported_key(p_key_digest bytea)
RETURNS TABLE (license_id uuid, are_any boolean)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT (SELECT i.license_id FROM obol.imported_keys i WHERE i.key_digest = p_key_digest),
                        EXISTS (SELECT FROM obol.imported_keys);
END
$$;

REVOKE ALL ON FUNCTION obol.find_imported_key(bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.find_imported_key(bytea) TO obol_service;
