-- Raises INVALID_LICENSE for an operator's act on a license that is not there.
CREATE OR REPLACE FUNCTION obol.refuse_license(p_license_id uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'INVALID_LICENSE: there is no license %', p_license_id USING ERRCODE = 'OB403';
END
$$;

REVOKE ALL ON FUNCTION obol.refuse_license(uuid) FROM PUBLIC;
