-- What a license used from one day (UTC) to another, both included: rows by day, model and key, or by those of the
-- three that are asked for; the others are null. What is rolled up, and the entries since then, in the one snapshot of
-- the statement: so it is what the ledger says, whatever of it has been rolled up by now.
-- Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.show_usage(
    p_license_id uuid,
    p_from date,
    p_to date,
    p_by_day boolean,
    p_by_model boolean,
    p_by_key boolean,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (day date, model text, key_id uuid, calls bigint, credits numeric, input_tokens numeric,
                 output_tokens numeric, cache_write_5m_tokens numeric, cache_write_1h_tokens numeric,
                 cache_read_tokens numeric, refunded numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_after bigint;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT COALESCE(max(w.entry_no), 0) INTO v_after FROM obol.usage_watermarks w WHERE w.license_id = p_license_id;
    RETURN QUERY
        SELECT s.day, s.model, s.key_id, sum(s.calls)::bigint, sum(s.credits), sum(s.input_tokens), sum(s.output_tokens),
               sum(s.cache_write_5m_tokens), sum(s.cache_write_1h_tokens), sum(s.cache_read_tokens), sum(s.refunded)
          FROM (SELECT CASE WHEN p_by_day THEN r.day END AS day, CASE WHEN p_by_model THEN r.model END AS model,
                       CASE WHEN p_by_key THEN r.key_id END AS key_id, r.calls, r.credits, r.input_tokens, r.output_tokens,
                       r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.cache_read_tokens, r.refunded
                  FROM obol.usage_rollups r
                 WHERE r.license_id = p_license_id AND r.day BETWEEN p_from AND p_to
                UNION ALL
                SELECT CASE WHEN p_by_day THEN u.day END, CASE WHEN p_by_model THEN u.model END,
                       CASE WHEN p_by_key THEN u.key_id END, u.calls, u.credits, u.input_tokens, u.output_tokens,
                       u.cache_write_5m_tokens, u.cache_write_1h_tokens, u.cache_read_tokens, u.refunded
                  FROM obol.entry_usage u
                 WHERE u.license_id = p_license_id AND u.entry_no > v_after AND u.day BETWEEN p_from AND p_to) s
         GROUP BY s.day, s.model, s.key_id
         ORDER BY s.day, s.model NULLS FIRST, s.key_id NULLS FIRST;
END
$$;

REVOKE ALL ON FUNCTION obol.show_usage(uuid, date, date, boolean, boolean, boolean, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_usage(uuid, date, date, boolean, boolean, boolean, bytea, bytea, text) TO obol_service;
