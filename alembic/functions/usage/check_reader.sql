-- Raises unless the license may be read: by whoever has a key of it (p_digest), or, where that is null, by an
-- operator (p_token_digest).
-- Errors: INVALID_LICENSE; of an operator ADMIN_FORBIDDEN (scope read), then INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.check_reader(p_license_id uuid, p_digest bytea, p_token_digest bytea)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_digest IS NOT NULL THEN
        PERFORM obol.check_license_key(p_license_id, p_digest);
        RETURN;
    END IF;
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.check_reader(uuid, bytea, bytea) FROM PUBLIC;
