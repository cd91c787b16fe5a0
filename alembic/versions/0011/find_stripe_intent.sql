-- The license whose payment a payment intent of Stripe is, for what names nothing else: a dispute. Null: none.
CREATE OR REPLACE FUNCTION obol.find_stripe_intent(p_payment_intent text)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT i.license_id FROM obol.stripe_intents i WHERE i.payment_intent = p_payment_intent);
END
$$;

REVOKE ALL ON FUNCTION obol.find_stripe_intent(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.find_stripe_intent(text) TO obol_service;
