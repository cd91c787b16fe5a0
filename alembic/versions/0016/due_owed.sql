-- The payments of which something is owed that is left and that no hold covers any more, at most p_most, for
-- take_back_owed: an event of Stripe takes at its time what it can.
CREATE OR REPLACE FUNCTION obol.due_owed(p_most integer DEFAULT 1000)
RETURNS TABLE (license_id uuid, payment_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        SELECT p.license_id, p.payment_id
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
          JOIN obol.licenses l ON l.license_id = p.license_id
         WHERE (p.refunded > 0 OR p.disputes <> '{}') AND s.owed > 0
           AND EXISTS (
               -- As they are once what was used is allotted.
               SELECT FROM (SELECT o.grant_id, o.ends_at, o.credits_left - o.used AS left,
                                   o.before + o.used - sum(o.used) OVER (ORDER BY o.before) AS before
                              FROM obol.list_open_grants(p.license_id) o) o
                 JOIN obol.payment_grants g ON g.license_id = p.license_id AND g.grant_id = o.grant_id
                WHERE g.payment_id = p.payment_id AND (o.ends_at IS NULL OR o.ends_at > v_now)
                  AND o.left > GREATEST(0, l.held - o.before))
         LIMIT p_most;
END
$$;

REVOKE ALL ON FUNCTION obol.due_owed(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_owed(integer) TO obol_service;
