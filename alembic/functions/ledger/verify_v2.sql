-- As verify, or from p_since on as verify_since (null: all of it), for who has a token: how many rows there are of what
-- was checked, how many things disagree, and p_limit of them as a list of {"license_id", "rule", "detail"}. All of it
-- in the one snapshot of the statement.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.verify_v2(p_since timestamptz, p_limit integer, p_token_digest bytea, p_request_id text)
RETURNS TABLE (checked jsonb, finding_count bigint, findings jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_checked jsonb;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    IF p_since IS NULL THEN
        v_checked := jsonb_build_object(
            'licenses', (SELECT count(*) FROM obol.licenses),
            'entries', (SELECT count(*) FROM obol.ledger_entries),
            'holds', (SELECT count(*) FROM obol.holds),
            'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys),
            'acts', (SELECT count(*) FROM obol.admin_acts));
        RETURN QUERY
            SELECT v_checked, COALESCE(max(v.number), 0),
                   COALESCE(jsonb_agg(jsonb_build_object(
                       'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
              FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify() f) v;
        RETURN;
    END IF;
    v_checked := jsonb_build_object(
        'licenses', (SELECT count(*) FROM obol.recent_licenses(p_since)),
        'entries', (SELECT count(*) FROM obol.ledger_entries e WHERE e.created_at >= p_since),
        'holds', (SELECT count(*) FROM obol.holds h WHERE h.state = 'held')
                 + (SELECT count(*) FROM obol.ledger_entries e WHERE e.created_at >= p_since AND e.kind = 'charge')
                 + (SELECT count(*) FROM obol.holds h WHERE h.state IN ('released', 'expired') AND h.ended_at >= p_since),
        'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys i WHERE i.claimed_at >= p_since),
        'acts', (SELECT count(*) FROM obol.admin_acts a WHERE a.acted_at >= p_since));
    RETURN QUERY
        SELECT v_checked, COALESCE(max(v.number), 0),
               COALESCE(jsonb_agg(jsonb_build_object(
                   'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
          FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify_since(p_since) f) v;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_v2(timestamptz, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.verify_v2(timestamptz, integer, bytea, text) TO obol_service;
