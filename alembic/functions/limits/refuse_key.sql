-- Raises KEY_NOT_FOUND for an operator's act on a key that is not there, or no longer.
CREATE OR REPLACE FUNCTION obol.refuse_key(p_license_id uuid, p_key_id uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'KEY_NOT_FOUND: this license has no key % that is not revoked', p_key_id USING ERRCODE = 'OB444';
END
$$;

REVOKE ALL ON FUNCTION obol.refuse_key(uuid, uuid) FROM PUBLIC;
