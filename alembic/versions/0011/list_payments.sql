-- The payments of a license, newest first, at most p_limit, before (p_before_at, p_before_id); nulls: from the newest.
-- p_only: the id of one alone. For who has a key of it, or, where p_digest is null, for an operator. refunded is money,
-- disputed too: what disputes hold back that are open or lost; owed is credits: what was to be taken back and was used,
-- or is held. checkout_url is where it can be paid; null: no longer, or not yet.
-- Errors: INVALID_LICENSE; of an operator ADMIN_FORBIDDEN (scope read), then INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.list_payments(
    p_license_id uuid,
    p_digest bytea,
    p_only uuid,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint,
                 lifetime_days bigint, state text, refunded bigint, disputed bigint, owed bigint, disagreement text,
                 checkout_url text, created_at timestamptz, paid_at timestamptz)
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
        SELECT p.license_id, p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.lifetime_days,
               -- Stripe's word for it may come later, or never.
               CASE WHEN p.state = 'pending' AND p.expires_at <= v_now THEN 'expired' ELSE p.state END,
               p.refunded, s.disputed, s.owed, p.disagreement,
               CASE WHEN p.state = 'pending' AND p.expires_at > v_now THEN p.checkout_url END, p.created_at, p.paid_at
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
         WHERE p.license_id = p_license_id AND (p_only IS NULL OR p.payment_id = p_only)
           AND (p_before_at IS NULL OR (p.created_at, p.payment_id) < (p_before_at, p_before_id))
         ORDER BY p.created_at DESC, p.payment_id DESC
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_payments(uuid, bytea, uuid, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_payments(uuid, bytea, uuid, timestamptz, uuid, integer, bytea, text) TO obol_service;
