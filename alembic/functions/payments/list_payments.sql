-- The payments of a license, newest first, at most p_limit, before (p_before_at, p_before_id); nulls: from the newest.
-- For who has a key of it, or, where p_digest is null, for an operator. refunded is money, disputed too: what disputes
-- hold back that are open or lost; owed is credits: what was to be taken back and was used, or is held.
-- Errors: INVALID_LICENSE; of an operator ADMIN_FORBIDDEN (scope read), then INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.list_payments(
    p_license_id uuid,
    p_digest bytea,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint,
                 lifetime_days bigint, state text, refunded bigint, disputed bigint, owed bigint, disagreement text,
                 created_at timestamptz, paid_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY
        SELECT p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.lifetime_days,
               -- Stripe's word for it may come later, or never.
               CASE WHEN p.state = 'pending' AND p.expires_at <= v_now THEN 'expired' ELSE p.state END,
               p.refunded,
               (SELECT COALESCE(sum((d.value ->> 'amount')::bigint), 0)::bigint FROM jsonb_each(p.disputes) d
                 WHERE d.value ->> 'state' IN ('open', 'lost')),
               GREATEST(0, s.kept - s.entitled), p.disagreement, p.created_at, p.paid_at
          FROM obol.payments p
         CROSS JOIN LATERAL obol.sum_up_payment(p_license_id, p.payment_id) s
         WHERE p.license_id = p_license_id
           AND (p_before_at IS NULL OR (p.created_at, p.payment_id) < (p_before_at, p_before_id))
         ORDER BY p.created_at DESC, p.payment_id DESC
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_payments(uuid, bytea, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_payments(uuid, bytea, timestamptz, uuid, integer, bytea, text) TO obol_service;
