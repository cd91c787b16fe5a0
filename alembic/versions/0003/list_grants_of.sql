-- Every grant of a license, for an operator: newest first, at most p_limit, before (p_before_at,
-- p_before_id); nulls: from the newest. Errors: ADMIN_FORBIDDEN (scope read), INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.list_grants_of(
    p_license_id uuid,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint,
                 starts_at timestamptz, expires_at timestamptz, state text, reason text, reference text,
                 created_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    IF NOT obol.bring_up_to_date(p_license_id) THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
    END IF;
    RETURN QUERY SELECT d.* FROM obol.describe_grants(p_license_id) d
                  WHERE p_before_at IS NULL OR (d.created_at, d.grant_id) < (p_before_at, p_before_id)
                  ORDER BY d.created_at DESC, d.grant_id DESC
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_grants_of(uuid, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_grants_of(uuid, timestamptz, uuid, integer, bytea, text) TO obol_service;
