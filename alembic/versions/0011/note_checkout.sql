-- Keeps which checkout of Stripe a payment has, once, for who asks again.
-- Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.note_checkout(
    p_license_id uuid,
    p_digest bytea,
    p_payment_id uuid,
    p_session_id text,
    p_checkout_url text
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_digest);
    -- An event may have come before and have said the session.
    UPDATE obol.payments p
       SET session_id = COALESCE(p.session_id, p_session_id), checkout_url = p_checkout_url
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id AND p.checkout_url IS NULL;
END
$$;

REVOKE ALL ON FUNCTION obol.note_checkout(uuid, bytea, uuid, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_checkout(uuid, bytea, uuid, text, text) TO obol_service;
