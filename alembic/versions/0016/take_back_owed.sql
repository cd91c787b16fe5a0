-- Takes of a payment what is owed of it and can be taken by now, because of the last event of Stripe that was booked.
-- Nothing to take is no error. Errors: INVALID_LICENSE (no such license); 40001: ask again.
CREATE OR REPLACE FUNCTION obol.take_back_owed(p_license_id uuid, p_payment_id uuid)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_event_id text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    SELECT e.event_id INTO v_event_id
      FROM obol.stripe_events e
      JOIN obol.payment_sums s ON s.license_id = e.license_id AND s.payment_id = e.payment_id
     WHERE e.license_id = p_license_id AND e.payment_id = p_payment_id AND s.owed > 0
     ORDER BY e.booked_at DESC, e.event_id LIMIT 1;
    IF FOUND THEN
        PERFORM obol.square_payment(p_license_id, p_payment_id, v_event_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.take_back_owed(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.take_back_owed(uuid, uuid) TO obol_service;
