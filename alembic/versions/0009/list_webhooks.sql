-- Webhooks after (p_after_at, p_after_id), oldest first, at most p_limit; nulls: from the oldest. p_only: this one alone.
-- Never a secret. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_webhooks(
    p_only uuid,
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (webhook_id uuid, name text, url text, types text[], status text, created_at timestamptz,
                 paused_at timestamptz, paused_because text, failing_since timestamptz, last_error text,
                 old_secret_until timestamptz, waiting bigint, failed bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT w.webhook_id, w.name, w.url, w.types,
               CASE WHEN w.paused_at IS NOT NULL THEN 'paused' WHEN w.failing_since IS NOT NULL THEN 'failing'
                    ELSE 'active' END,
               w.created_at, w.paused_at, w.paused_because, w.failing_since, w.last_error,
               CASE WHEN w.old_secret_until > v_now THEN w.old_secret_until END,
               (SELECT count(*) FROM obol.deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'waiting'),
               (SELECT count(*) FROM obol.deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'failed')
          FROM obol.webhooks w
         WHERE w.deleted_at IS NULL AND w.kind = 'http'
           AND (p_only IS NULL OR w.webhook_id = p_only)
           AND (p_after_at IS NULL OR (w.created_at, w.webhook_id) > (p_after_at, p_after_id))
         ORDER BY w.created_at, w.webhook_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_webhooks(uuid, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_webhooks(uuid, timestamptz, uuid, integer, bytea, text) TO obol_service;
