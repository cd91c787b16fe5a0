-- What this migration replaced, as the migrations before it had it.

-- Makes a license's set of grants what it should be by now: allots what was used since the last
-- change to the grants in burn order, starts what is due, and takes what has ended and no hold
-- covers. Held credits burn in the same order, so what the holds cover is the first p credits of it.
-- Returns whether there was anything to do, and then has the row locked: until the end of the
-- transaction the balance is what the license may use. p_even_so: allot although nothing is due,
-- because the caller is about to change the set.
CREATE OR REPLACE FUNCTION obol.bring_up_to_date(p_license_id uuid, p_even_so boolean DEFAULT false)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_license obol.licenses;
    v_grant record;
    v_balance bigint;
    v_entry_no bigint;
    v_covered bigint;
    v_lapsing bigint;
    v_next_change_at timestamptz;
    v_has_started boolean := false;
BEGIN
    UPDATE obol.licenses l
       SET next_change_at = l.next_change_at
     WHERE l.license_id = p_license_id AND (p_even_so OR l.next_change_at <= v_now)
    RETURNING l.* INTO v_license;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- From here on nobody else writes, and time is what it is under the lock.
    v_now := clock_timestamp();
    v_balance := v_license.balance;
    v_entry_no := v_license.entry_count;

    FOR v_grant IN SELECT o.*, v_balance + sum(o.used) OVER () AS balance_from
                     FROM obol.list_open_grants(p_license_id) o WHERE o.used > 0 LOOP
        INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
        VALUES (p_license_id, v_grant.grant_id, v_license.allotted_entry_no + 1, v_entry_no,
                v_grant.balance_from - v_grant.before, v_grant.balance_from - v_grant.before - v_grant.used);
        UPDATE obol.grants g
           SET credits_left = g.credits_left - v_grant.used
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
    END LOOP;

    FOR v_grant IN SELECT g.* FROM obol.grants g
                    WHERE g.license_id = p_license_id AND NOT g.has_started AND g.credits_left > 0 AND g.starts_at <= v_now
                    ORDER BY g.starts_at, g.created_at, g.grant_id LOOP
        UPDATE obol.grants g SET has_started = true
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
        v_has_started := true;
        v_balance := v_balance + v_grant.amount;
        v_entry_no := v_entry_no + 1;
        PERFORM obol.book_entry(p_license_id, v_entry_no, 'grant', v_grant.amount, v_balance,
                                v_grant.grant_id, v_grant.reference);
    END LOOP;

    FOR v_grant IN SELECT o.* FROM obol.list_open_grants(p_license_id) o LOOP
        v_covered := LEAST(v_grant.credits_left, GREATEST(0, v_license.held - v_grant.before));
        v_lapsing := v_grant.credits_left - v_covered;
        IF v_grant.ends_at <= v_now AND v_lapsing > 0 THEN
            UPDATE obol.grants g
               SET credits_left = v_covered, lapsed = g.lapsed + v_lapsing
             WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
            v_balance := v_balance - v_lapsing;
            v_entry_no := v_entry_no + 1;
            PERFORM obol.book_part(p_license_id, v_entry_no, v_grant.kind, -v_lapsing, v_balance,
                                   v_grant.grant_id, gen_random_uuid(), NULL);
        END IF;
    END LOOP;

    -- What has ended and is covered leaves this in the past, and each call comes by here until
    -- the hold has ended.
    SELECT COALESCE(min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at) ELSE g.starts_at END), 'infinity')
      INTO v_next_change_at
      FROM obol.grants g WHERE g.license_id = p_license_id AND g.credits_left > 0;
    UPDATE obol.licenses l
       SET balance = v_balance, entry_count = v_entry_no, allotted_entry_no = v_entry_no,
           next_change_at = v_next_change_at
     WHERE l.license_id = p_license_id AND l.balance = v_license.balance AND l.entry_count = v_license.entry_count;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the license changed');
    END IF;
    IF v_has_started THEN
        PERFORM obol.arm_alerts(p_license_id, v_balance);
    ELSIF v_balance < v_license.balance AND v_balance <= v_license.notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION obol.bring_up_to_date(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.bring_up_to_date(uuid, boolean) TO obol_service;

-- The thresholds of a license in credits, those in percent of what its balance was after the last top-up.
CREATE OR REPLACE FUNCTION obol.list_thresholds(p_alerts jsonb, p_base bigint)
RETURNS TABLE (threshold bigint, percent bigint)
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT c.value::bigint, NULL::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'credits', '[]')) c
        UNION ALL
        SELECT (p_base::numeric * c.value::bigint / 100)::bigint, c.value::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'percent', '[]')) c;
END
$$;

REVOKE ALL ON FUNCTION obol.list_thresholds(jsonb, bigint) FROM PUBLIC;

-- What can be delivered now, at most p_most for each webhook, and one for a webhook that is failing: it is only asked
-- whether it works again. p_with_email: also by e-mail. One read without a lock, for claim_delivery.
CREATE OR REPLACE FUNCTION obol.due_deliveries(p_most integer, p_with_email boolean)
RETURNS TABLE (license_id uuid, webhook_id uuid)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_webhook record;
BEGIN
    FOR v_webhook IN
        SELECT w.webhook_id, CASE WHEN w.failing_since IS NULL THEN p_most ELSE 1 END AS most
          FROM obol.webhooks w
         WHERE w.paused_at IS NULL AND w.deleted_at IS NULL AND (w.kind = 'http' OR p_with_email)
    LOOP
        RETURN QUERY SELECT q.license_id, q.webhook_id FROM obol.delivery_queues q
                      WHERE q.webhook_id = v_webhook.webhook_id AND q.next_attempt_at <= v_now
                      ORDER BY q.next_attempt_at LIMIT v_webhook.most;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.due_deliveries(integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.due_deliveries(integer, boolean) TO obol_service;

-- Notes that a webhook works again, or that it fails and why. One that has failed for three days without one success,
-- or says that it is gone (410), is paused: its events wait until an operator resumes it. Returns whether it was paused now.
CREATE OR REPLACE FUNCTION obol.note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_error, 300);
BEGIN
    IF p_error IS NULL THEN
        UPDATE obol.webhooks w SET failing_since = NULL, last_error = NULL
         WHERE w.webhook_id = p_webhook_id AND w.failing_since IS NOT NULL;
        RETURN false;
    END IF;
    UPDATE obol.webhooks w
       SET failing_since = COALESCE(w.failing_since, v_now), last_error = v_error
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http';
    UPDATE obol.webhooks w
       SET paused_at = v_now, paused_because = CASE WHEN p_is_gone THEN 'gone' ELSE 'failing' END
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.paused_at IS NULL
       AND (p_is_gone OR w.failing_since <= v_now - interval '3 days');
    RETURN FOUND;
END
$$;

REVOKE ALL ON FUNCTION obol.note_webhook(uuid, text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_webhook(uuid, text, boolean) TO obol_service;

-- Keeps what an event says of a payment, so that the order of events does not matter: of a dispute its end over its
-- beginning. Refunds are note_refund's. The caller has the license locked.
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
           disputes = CASE p_type WHEN 'charge.dispute.created' THEN v_dispute || p.disputes
                                  WHEN 'charge.dispute.closed' THEN p.disputes || v_dispute
                                  ELSE p.disputes END
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.note_stripe_state(uuid, uuid, text, jsonb) FROM PUBLIC;

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
    IF v_type IN ('charge.dispute.created', 'charge.dispute.closed')
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
