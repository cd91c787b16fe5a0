-- Events before (p_before_at, p_before_id), newest first, at most p_limit; nulls: from the newest; of one license, and of
-- one type, where these are named. license_id is null for what is about none. deliveries has an object for each webhook
-- that was to get it. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_events(
    p_only uuid,
    p_type text,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (event_id uuid, license_id uuid, type text, created_at timestamptz, data jsonb, deliveries jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT e.event_id, NULLIF(e.license_id, c_nobody), e.type, e.created_at, e.data,
               COALESCE((SELECT jsonb_agg(jsonb_build_object(
                                    'webhook_id', NULLIF(d.webhook_id, c_nobody), 'state', d.state,
                                    'attempts', d.attempts, 'last_attempt_at', obol.utc(d.last_attempt_at),
                                    'last_status', d.last_status, 'last_error', d.last_error) ORDER BY d.webhook_id)
                           FROM obol.deliveries d
                          WHERE d.license_id = e.license_id AND d.event_no = e.event_no), '[]')
          FROM obol.events e
         WHERE (p_only IS NULL OR e.license_id = p_only)
           AND (p_type IS NULL OR e.type = p_type)
           AND (p_before_at IS NULL OR (e.created_at, e.event_id) < (p_before_at, p_before_id))
         ORDER BY e.created_at DESC, e.event_id DESC
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_events(uuid, text, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_events(uuid, text, timestamptz, uuid, integer, bytea, text) TO obol_service;
