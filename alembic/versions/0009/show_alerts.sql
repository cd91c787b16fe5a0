-- When and whom a license tells of its balance. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.show_alerts(p_license_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (alerts jsonb, email text)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.alerts, l.email FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.show_alerts(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_alerts(uuid, bytea, text) TO obol_service;
