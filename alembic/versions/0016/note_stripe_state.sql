-- Keeps what an event says of a payment, so that the order of events does not matter: of a dispute its end over all
-- before it, and that the money was taken over that there is an inquiry. Refunds are note_refund's. The caller has the license locked.
CREATE OR REPLACE FUNCTION obol.note_stripe_state(
    p_license_id uuid,
    p_payment_id uuid,
    p_type text,
    p_object jsonb
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_dispute jsonb := jsonb_build_object(
        p_object ->> 'id',
        jsonb_build_object('amount', (p_object ->> 'amount')::bigint, 'state', obol.dispute_state(p_type, p_object)));
BEGIN
    IF p_object ->> 'payment_intent' IS NOT NULL THEN
        INSERT INTO obol.stripe_intents (payment_intent, license_id, payment_id)
        VALUES (p_object ->> 'payment_intent', p_license_id, p_payment_id)
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE obol.payments p
       SET session_id = CASE WHEN p_type LIKE 'checkout.session.%' THEN p_object ->> 'id' ELSE p.session_id END,
           payment_intent = COALESCE(p.payment_intent, p_object ->> 'payment_intent'),
           state = CASE WHEN p_type = 'checkout.session.expired' AND p.state = 'pending' THEN 'expired' ELSE p.state END,
           disputes = CASE WHEN p_type = 'charge.dispute.closed'
                             OR (p_type LIKE 'charge.dispute.%'
                                 AND COALESCE(p.disputes #>> ARRAY[p_object ->> 'id', 'state'], 'inquiry') = 'inquiry')
                           THEN p.disputes || v_dispute
                           ELSE p.disputes END
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.note_stripe_state(uuid, uuid, text, jsonb) FROM PUBLIC;
