-- The payments of all licenses, as list_payments has those of one; p_only_owed: those of which something is owed. owed is
-- as of the license's last change. Errors: ADMIN_FORBIDDEN (scope read).
CREATE OR REPLACE FUNCTION obol.list_all_payments(
    p_only_owed boolean,
    p_before_at timestamptz,
    p_before_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint,
                 lifetime_days bigint, state text, refunded bigint, disputed bigint, owed bigint, disagreement text,
                 checkout_url text, created_at timestamptz, paid_at timestamptz)
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
        SELECT p.license_id, p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.lifetime_days,
               -- Stripe's word for it may come later, or never.
               CASE WHEN p.state = 'pending' AND p.expires_at <= v_now THEN 'expired' ELSE p.state END,
               p.refunded, s.disputed, s.owed, p.disagreement,
               CASE WHEN p.state = 'pending' AND p.expires_at > v_now THEN p.checkout_url END, p.created_at, p.paid_at
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
         WHERE (NOT p_only_owed OR ((p.refunded > 0 OR p.disputes <> '{}') AND s.owed > 0))
           AND (p_before_at IS NULL OR (p.created_at, p.payment_id) < (p_before_at, p_before_id))
         ORDER BY p.created_at DESC, p.payment_id DESC
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_all_payments(boolean, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_all_payments(boolean, timestamptz, uuid, integer, bytea, text) TO obol_service;
