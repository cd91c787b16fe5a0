-- What this migration replaced, as the migrations before it had it.

-- Books an event of Stripe once, however often it comes and in whatever order: exactly one grant for a payment, and
-- what refunds and disputes take of it. Who calls it needs nothing but the event: the database itself looks at Stripe's
-- signature, so that the service's login, stolen, can make no credits. p_license_id: the one that the event names in
-- its metadata, or find_stripe_intent for a dispute.
-- outcome: 'forged' (nothing was read of it), 'ignored' (not for us), 'unknown_intent' (a dispute of a payment that is not
-- known yet: to be sent again), 'replayed', 'disagrees' (it is not what the payment was begun with: nothing was booked,
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
    IF v_type IN ('charge.dispute.created', 'charge.dispute.closed') THEN
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

-- How what Stripe says differs from what a payment was begun with; null when it does not. p_payment: the row of
-- obol.payments; p_object: the checkout session, the charge or the dispute of an event.
CREATE OR REPLACE FUNCTION obol.disagreement_of(p_payment jsonb, p_object jsonb)
RETURNS text
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_kind text := p_object ->> 'object';
    v_amount text := CASE v_kind WHEN 'checkout.session' THEN p_object ->> 'amount_total' ELSE p_object ->> 'amount' END;
BEGIN
    IF p_object ->> 'currency' IS DISTINCT FROM p_payment ->> 'currency' THEN
        RETURN format('currency is %s, and not %s', p_object ->> 'currency', p_payment ->> 'currency');
    ELSIF v_amount IS NULL OR (v_kind <> 'dispute' AND v_amount <> p_payment ->> 'price') THEN
        RETURN format('amount is %s, and not %s', v_amount, p_payment ->> 'price');
    ELSIF v_kind <> 'dispute' AND p_object #>> '{metadata,package_id}' IS DISTINCT FROM p_payment ->> 'package_id' THEN
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

-- Keeps what an event says of a payment's money, so that the order of events does not matter: of refunds the most that
-- there was, of a dispute its end over its beginning. The caller has the license locked.
-- A dispute that is only an inquiry ('warning_…') takes no money; one that was won, or was closed as such, gives it back.
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
    v_status text := p_object ->> 'status';
    v_dispute jsonb := jsonb_build_object(
        p_object ->> 'id',
        jsonb_build_object('amount', (p_object ->> 'amount')::bigint, 'state',
                           CASE WHEN p_type = 'charge.dispute.closed' AND v_status IN ('won', 'warning_closed') THEN 'won'
                                WHEN p_type = 'charge.dispute.closed' THEN 'lost'
                                WHEN v_status LIKE 'warning%' THEN 'inquiry'
                                ELSE 'open' END));
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
           refunded = CASE WHEN p_type = 'charge.refunded'
                           THEN GREATEST(p.refunded, (p_object ->> 'amount_refunded')::bigint) ELSE p.refunded END,
           disputes = CASE p_type WHEN 'charge.dispute.created' THEN v_dispute || p.disputes
                                  WHEN 'charge.dispute.closed' THEN p.disputes || v_dispute
                                  ELSE p.disputes END
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.note_stripe_state(uuid, uuid, text, jsonb) FROM PUBLIC;

-- What the payments say of their grants: see verify.
CREATE OR REPLACE FUNCTION obol.verify_payments()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.license_id, 'a payment has its grant once it is paid, and not before',
           format('payment %s of %s credits is %s, and its grant is of %s', p.payment_id, p.credits, p.state,
                  COALESCE(g.amount, 0))
      FROM obol.payments p
      LEFT JOIN obol.payment_grants o
             ON o.license_id = p.license_id AND o.payment_id = p.payment_id AND o.grant_id = p.payment_id
      LEFT JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE COALESCE(g.amount, 0) <> CASE p.state WHEN 'paid' THEN p.credits ELSE 0 END
    UNION ALL
    SELECT p.license_id, 'a paid payment has the event that says so', format('payment %s was paid at %s', p.payment_id, p.paid_at)
      FROM obol.payments p
     WHERE p.state = 'paid'
       AND NOT EXISTS (SELECT FROM obol.stripe_events e
                        WHERE e.license_id = p.license_id AND e.payment_id = p.payment_id
                          AND e.event_type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded'))
    UNION ALL
    SELECT p.license_id, 'what is given again for a payment was taken before',
           format('payment %s: %s more credits were given again than were taken', p.payment_id, -s.taken)
      FROM obol.payments p
      JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
     WHERE p.state = 'paid' AND s.taken < 0
$$;

REVOKE ALL ON FUNCTION obol.verify_payments() FROM PUBLIC;
