-- As verify, for who has a token: how many rows there are of what was checked, how many things disagree, and
-- p_limit of them as a list of {"license_id", "rule", "detail"}. All of it in the one snapshot of the statement.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.verify_v2(p_limit integer, p_token_digest bytea, p_request_id text)
RETURNS TABLE (checked jsonb, finding_count bigint, findings jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT jsonb_build_object(
                   'licenses', (SELECT count(*) FROM obol.licenses),
                   'entries', (SELECT count(*) FROM obol.ledger_entries),
                   'holds', (SELECT count(*) FROM obol.holds),
                   'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys)),
               COALESCE(max(v.number), 0),
               COALESCE(jsonb_agg(jsonb_build_object(
                   'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
          FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify() f) v;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_v2(integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.verify_v2(integer, bytea, text) TO obol_service;
