-- The payments of which something is owed and credits are left, in licenses that do not hold all that they have, at most
-- p_most, for take_back_owed: an event of Stripe takes at its time what it can. One read without a lock.
CREATE OR REPLACE FUNCTION obol.due_owed(p_most integer DEFAULT 1000)
RETURNS TABLE (license_id uuid, payment_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT p.license_id, p.payment_id
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
          JOIN obol.licenses l ON l.license_id = p.license_id
         WHERE (p.refunded > 0 OR p.disputes <> '{}') AND s.owed > 0 AND l.balance > l.held
           AND EXISTS (SELECT FROM obol.payment_grants o
                         JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
                        WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id
                          AND g.credits_left > 0 AND g.voided_at IS NULL)
         LIMIT p_most;
END
$$;

REVOKE ALL ON FUNCTION obol.due_owed(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_owed(integer) TO obol_service;
