-- How what Stripe says differs from what a payment was begun with; null when it does not. p_payment: the row of
-- obol.payments; p_object: the checkout session, the charge, the refund or the dispute of an event.
CREATE OR REPLACE FUNCTION obol.disagreement_of(p_payment jsonb, p_object jsonb)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_kind text := p_object ->> 'object';
    -- It can be of a part, and does not say of what.
    v_is_of_a_part boolean := v_kind IN ('dispute', 'refund');
    v_amount text := CASE v_kind WHEN 'checkout.session' THEN p_object ->> 'amount_total' ELSE p_object ->> 'amount' END;
BEGIN
    IF p_object ->> 'currency' IS DISTINCT FROM p_payment ->> 'currency' THEN
        RETURN format('currency is %s, and not %s', p_object ->> 'currency', p_payment ->> 'currency');
    ELSIF v_amount IS NULL OR (NOT v_is_of_a_part AND v_amount <> p_payment ->> 'price') THEN
        RETURN format('amount is %s, and not %s', v_amount, p_payment ->> 'price');
    ELSIF NOT v_is_of_a_part AND p_object #>> '{metadata,package_id}' IS DISTINCT FROM p_payment ->> 'package_id' THEN
        RETURN format('package is %s, and not %s', p_object #>> '{metadata,package_id}', p_payment ->> 'package_id');
    ELSIF v_kind = 'checkout.session' AND p_object ->> 'id' <> p_payment ->> 'session_id' THEN
        RETURN format('session is %s, and not %s', p_object ->> 'id', p_payment ->> 'session_id');
    ELSIF p_object ->> 'payment_intent' <> p_payment ->> 'payment_intent' THEN
        RETURN format('payment intent is %s, and not %s', p_object ->> 'payment_intent', p_payment ->> 'payment_intent');
    END IF;
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION obol.disagreement_of(jsonb, jsonb) FROM PUBLIC;
