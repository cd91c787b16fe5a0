-- The business by day (UTC), from p_from to p_to, oldest first: what the entries of the day gave and took, as
-- amounts above zero (adjusted: of either sign); what was owed to clients at its end; charges of the day
-- whose answers are not known to have arrived; and what clients got of answers that broke off and were
-- charged to nobody (until the holds are purged). held is of now, the same in each row.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.overview(
    p_from date,
    p_to date,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (day date, granted numeric, charged numeric, refunded numeric, expired numeric, voided numeric,
                 adjusted numeric, shortfall numeric, outstanding numeric, undelivered numeric,
                 operator_loss_answers bigint, operator_loss_tokens numeric, held numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_from timestamptz := p_from::timestamp AT TIME ZONE 'UTC';
    v_balance numeric;
    v_held numeric;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    SELECT COALESCE(sum(l.balance), 0), COALESCE(sum(l.held), 0) INTO v_balance, v_held FROM obol.licenses l;
    RETURN QUERY
        WITH parts AS (
            SELECT (e.created_at AT TIME ZONE 'UTC')::date AS day, sum(e.amount) AS total,
                   sum(e.amount) FILTER (WHERE e.kind = 'grant') AS granted,
                   -sum(e.amount) FILTER (WHERE e.kind IN ('charge', 'deduction')) AS charged,
                   sum(e.amount) FILTER (WHERE e.kind = 'refund') AS refunded,
                   -sum(e.amount) FILTER (WHERE e.kind = 'expiry') AS expired,
                   -sum(e.amount) FILTER (WHERE e.kind = 'void') AS voided,
                   sum(e.amount) FILTER (WHERE e.kind = 'adjustment') AS adjusted,
                   sum(e.shortfall) AS shortfall
              FROM obol.ledger_entries e WHERE e.created_at >= v_from GROUP BY 1
            UNION ALL
            SELECT a.day, sum(a.total), sum(a.granted), sum(a.charged), sum(a.refunded), sum(a.expired), sum(a.voided),
                   sum(a.adjusted), sum(a.shortfall)
              FROM obol.archived_days a WHERE a.day >= p_from GROUP BY 1
        ), entries AS (
            SELECT p.day, sum(p.total) AS total, sum(p.granted) AS granted, sum(p.charged) AS charged,
                   sum(p.refunded) AS refunded, sum(p.expired) AS expired, sum(p.voided) AS voided,
                   sum(p.adjusted) AS adjusted, sum(p.shortfall) AS shortfall
              FROM parts p GROUP BY p.day
        ), undelivered AS (
            SELECT (u.settled_at AT TIME ZONE 'UTC')::date AS day, sum(u.charge) AS credits
              FROM obol.undelivered_holds u WHERE u.settled_at >= v_from GROUP BY 1
        ), lost AS (
            SELECT (u.ended_at AT TIME ZONE 'UTC')::date AS day, count(*) AS answers, sum(u.tokens) AS tokens
              FROM obol.unpaid_holds u WHERE u.ended_at >= v_from GROUP BY 1
        ), days AS (
            SELECT d.day::date AS day
              FROM generate_series(p_from::timestamp, GREATEST(p_to, (clock_timestamp() AT TIME ZONE 'UTC')::date)::timestamp,
                                   interval '1 day') AS d (day)
        )
        SELECT o.* FROM (
            SELECT d.day, COALESCE(e.granted, 0), COALESCE(e.charged, 0), COALESCE(e.refunded, 0),
                   COALESCE(e.expired, 0), COALESCE(e.voided, 0), COALESCE(e.adjusted, 0), COALESCE(e.shortfall, 0),
                   -- What is owed now, without what came after the day.
                   v_balance - COALESCE(sum(e.total) OVER (
                       ORDER BY d.day DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
                   COALESCE(u.credits, 0), COALESCE(l.answers, 0), COALESCE(l.tokens, 0), v_held
              FROM days d
              LEFT JOIN entries e ON e.day = d.day
              LEFT JOIN undelivered u ON u.day = d.day
              LEFT JOIN lost l ON l.day = d.day
        ) o (day) WHERE o.day <= p_to ORDER BY o.day;
END
$$;

REVOKE ALL ON FUNCTION obol.overview(date, date, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.overview(date, date, bytea, text) TO obol_service;
