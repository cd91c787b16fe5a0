-- Takes of a payment what is owed of it, is left and is covered by no hold any more, because of the last event of Stripe
-- that was booked. Returns whether there was anything to take; where there was not, nothing is written. Errors:
-- INVALID_LICENSE (no such license); 40001: ask again.
CREATE OR REPLACE FUNCTION obol.take_back_owed(p_license_id uuid, p_payment_id uuid)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz;
    v_event_id text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    SELECT e.event_id INTO v_event_id
      FROM obol.stripe_events e
      JOIN obol.payment_sums s ON s.license_id = e.license_id AND s.payment_id = e.payment_id
     WHERE e.license_id = p_license_id AND e.payment_id = p_payment_id AND s.owed > 0
     ORDER BY e.booked_at DESC, e.event_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Its grants as they are once what was used is allotted.
    PERFORM FROM (SELECT o.grant_id, o.ends_at, o.credits_left - o.used AS left,
                         o.before + o.used - sum(o.used) OVER (ORDER BY o.before) AS before
                    FROM obol.list_open_grants(p_license_id) o) o
       JOIN obol.payment_grants g ON g.license_id = p_license_id AND g.grant_id = o.grant_id
       JOIN obol.licenses l ON l.license_id = p_license_id
      WHERE g.payment_id = p_payment_id AND (o.ends_at IS NULL OR o.ends_at > v_now)
        AND o.left > GREATEST(0, l.held - o.before);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM obol.square_payment(p_license_id, p_payment_id, v_event_id);
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION obol.take_back_owed(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.take_back_owed(uuid, uuid) TO obol_service;
