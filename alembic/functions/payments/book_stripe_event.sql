-- Books an event of Stripe once, however often it comes and in whatever order: exactly one grant for a payment, and
-- what refunds and disputes take of it. Who calls it needs nothing but the event: the database itself looks at Stripe's
-- signature, so that the service's login, stolen, can make no credits. p_license_id: the one that the event names in
-- its metadata, or find_stripe_intent for a dispute, and for a refund that failed.
-- outcome: 'forged' (nothing was read of it), 'ignored' (not for us), 'unknown_intent' (one of these two, of a payment that
-- is not known yet: to be sent again), 'replayed', 'disagrees' (it is not what the payment was begun with: nothing was booked,
-- and the payment says why) or 'booked'.
-- Errors: INVALID_AMOUNT (the balance would pass the largest bigint); 40001 means ask again.
CREATE OR REPLACE FUNCTION obol.book_stripe_event(
    p_license_id uuid,
    p_payload bytea,
    p_signature text
) RETURNS TABLE (outcome text, payment_id uuid)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_event jsonb;
    v_type text;
    v_object jsonb;
    v_payment_id uuid;
    v_payment obol.payments;
    v_disagreement text;
    v_now timestamptz;
BEGIN
    IF obol.is_signed_by_stripe(p_payload, p_signature) IS NOT TRUE THEN
        RETURN QUERY SELECT 'forged', NULL::uuid;
        RETURN;
    END IF;
    v_event := convert_from(p_payload, 'UTF8')::jsonb;
    v_type := v_event ->> 'type';
    v_object := v_event #> '{data,object}';
    IF v_type IN ('charge.dispute.created', 'charge.dispute.updated', 'charge.dispute.funds_withdrawn', 'charge.dispute.closed')
       OR (v_type IN ('refund.failed', 'refund.updated', 'charge.refund.updated')
           AND v_object ->> 'status' IN ('failed', 'canceled')) THEN
        SELECT i.payment_id INTO v_payment_id FROM obol.stripe_intents i
         WHERE i.payment_intent = v_object ->> 'payment_intent' AND i.license_id = p_license_id;
        IF NOT FOUND THEN
            RETURN QUERY SELECT 'unknown_intent', NULL::uuid;
            RETURN;
        END IF;
    ELSIF v_type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded', 'checkout.session.expired',
                     'charge.refunded') THEN
        SELECT p.payment_id INTO v_payment_id FROM obol.payments p
         WHERE p.license_id = p_license_id AND v_object #>> '{metadata,license_id}' = p_license_id::text
           AND p.payment_id::text = v_object #>> '{metadata,payment_id}';
    END IF;
    IF v_payment_id IS NULL THEN
        RETURN QUERY SELECT 'ignored', NULL::uuid;
        RETURN;
    END IF;

    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    INSERT INTO obol.stripe_events (license_id, event_id, payment_id, event_type, booked_at)
    VALUES (p_license_id, v_event ->> 'id', v_payment_id, v_type, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'replayed', v_payment_id;
        RETURN;
    END IF;
    SELECT p.* INTO v_payment FROM obol.payments p WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
    v_disagreement := obol.disagreement_of(to_jsonb(v_payment), v_object);
    IF v_disagreement IS NOT NULL THEN
        v_disagreement := format('%s: %s', v_event ->> 'id', v_disagreement);
        UPDATE obol.payments p SET disagreement = v_disagreement
         WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
        RETURN QUERY SELECT 'disagrees', v_payment_id;
        RETURN;
    END IF;
    PERFORM obol.note_stripe_state(p_license_id, v_payment_id, v_type, v_object);
    IF v_type LIKE '%refund%' THEN
        PERFORM obol.note_refund(p_license_id, v_payment_id, v_event);
    END IF;
    -- Now, and not before: a refund may have come first.
    IF v_type = 'checkout.session.async_payment_succeeded'
       OR (v_type = 'checkout.session.completed' AND v_object ->> 'payment_status' = 'paid') THEN
        UPDATE obol.payments p SET state = 'paid', paid_at = v_now
         WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id AND p.paid_at IS NULL;
        IF FOUND THEN
            PERFORM obol.give_for_payment(p_license_id, v_payment_id, v_payment_id, v_payment.credits,
                                          make_interval(days => v_payment.lifetime_days::integer),
                                          'stripe:' || (v_event ->> 'id'));
            PERFORM obol.write_event(p_license_id, 'payment.received', v_payment_id, jsonb_build_object(
                'payment_id', v_payment_id, 'package_id', v_payment.package_id, 'name', v_payment.name,
                'price', v_payment.price, 'currency', v_payment.currency, 'credits', v_payment.credits,
                'grant_id', v_payment_id, 'paid_at', obol.utc(v_now),
                'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
        END IF;
    END IF;
    PERFORM FROM obol.payments p
      WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id AND p.paid_at IS NOT NULL;
    IF FOUND THEN
        PERFORM obol.square_payment(p_license_id, v_payment_id, v_event ->> 'id');
    END IF;
    RETURN QUERY SELECT 'booked', v_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.book_stripe_event(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.book_stripe_event(uuid, bytea, text) TO obol_service;
