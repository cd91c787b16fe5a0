-- The keys of a license after (p_after_at, p_after_id), oldest first, at most p_limit; nulls: from the oldest.
-- Revoked and expired ones too. last_used_at is right to the hour.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.list_keys(
    p_license_id uuid,
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
                 last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id
                    AND (p_after_at IS NULL OR (k.created_at, k.key_id) > (p_after_at, p_after_id))
                  ORDER BY k.created_at, k.key_id
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_keys(uuid, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_keys(uuid, timestamptz, uuid, integer, bytea, text) TO obol_service;
