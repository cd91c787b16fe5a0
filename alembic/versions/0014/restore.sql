-- What this migration replaced, as the migrations before it had it.

-- Takes a license over from another system: with the key that it has there, known by its SHA-256, and the credits
-- that are left, as an opening grant, which needs the scope for grants too. p_license_id is a new one. Once per key:
-- the same again gives the license that there is and changes nothing, whatever became of it since; result is
-- 'imported' or 'unchanged'. p_dry_run: the same answer, with license_id null in place of a new one, and nothing written.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT (credits), ALREADY_EXISTS (the key was imported with other values, of
-- which "field" names the first; a license has the key, that was not imported; another has the external id); 40001 means
-- ask again with the same id.
CREATE OR REPLACE FUNCTION obol.import_license(
    p_license_id uuid,
    p_key_digest bytea,
    p_credits bigint,
    p_status text,
    p_expires_at timestamptz,
    p_external_id text,
    p_name text,
    p_dry_run boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, result text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_values jsonb := jsonb_build_object(
        'credits', p_credits, 'status', p_status, 'expires_at', p_expires_at AT TIME ZONE 'UTC',
        'external_id', p_external_id, 'name', p_name);
    v_now timestamptz := clock_timestamp();
    v_key obol.imported_keys;
    v_others text[];
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    ELSIF p_credits > 0 THEN
        PERFORM obol.check_token(p_token_digest, 'grant');
    END IF;

    SELECT i.* INTO v_key FROM obol.imported_keys i WHERE i.key_digest = p_key_digest;
    IF FOUND THEN
        SELECT array_agg(n.name ORDER BY n.place) INTO v_others
          FROM unnest(ARRAY['credits', 'status', 'expires_at', 'external_id', 'name']) WITH ORDINALITY AS n (name, place)
         WHERE v_key.imported -> n.name IS DISTINCT FROM v_values -> n.name;
        IF v_others IS NOT NULL THEN
            RAISE EXCEPTION 'ALREADY_EXISTS: the key was imported before, as license %, with another %',
                            v_key.license_id, array_to_string(v_others, ' and another ')
                USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', v_others[1]),
                      HINT = 'Change that license itself, or import what was imported.';
        END IF;
        -- A call whose answer was lost is asked again with its id.
        RETURN QUERY SELECT v_key.license_id, CASE WHEN v_key.license_id = p_license_id THEN 'imported' ELSE 'unchanged' END;
        RETURN;
    END IF;
    PERFORM FROM obol.license_keys k WHERE k.key_digest = p_key_digest;
    IF FOUND THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: a license has this key'
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'key'), HINT = 'It need not be imported.';
    END IF;
    PERFORM FROM obol.external_ids x WHERE x.external_id = p_external_id;
    IF FOUND THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: another license has the external id %', p_external_id
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'external_id'),
                  HINT = 'Look that license up by it, or use another one.';
    END IF;
    IF p_dry_run THEN
        RETURN QUERY SELECT NULL::uuid, 'imported';
        RETURN;
    END IF;

    -- Another import that came between is found by the next try.
    INSERT INTO obol.imported_keys (key_digest, license_id, imported, imported_at)
    VALUES (p_key_digest, p_license_id, v_values, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the key was imported');
    END IF;
    INSERT INTO obol.licenses (license_id, name, status, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_status, p_expires_at, sha256(convert_to(v_values::text, 'UTF8')), v_now);
    INSERT INTO obol.license_keys (license_id, key_digest, created_at, name)
    VALUES (p_license_id, p_key_digest, v_now, 'imported');
    IF p_external_id IS NOT NULL THEN
        INSERT INTO obol.external_ids (external_id, license_id)
        VALUES (p_external_id, p_license_id)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the external id was taken');
        END IF;
    END IF;
    IF p_credits > 0 THEN
        PERFORM obol.grant_credits_v2(p_license_id, p_license_id, p_credits, 50, NULL, NULL, 'import', 'opening grant',
                                      NULL, NULL, p_token_digest, p_request_id);
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'import_license', NULL, v_values, p_request_id);
    RETURN QUERY SELECT p_license_id, 'imported';
END
$$;

REVOKE ALL ON FUNCTION obol.import_license(uuid, bytea, bigint, text, timestamptz, text, text, boolean, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.import_license(uuid, bytea, bigint, text, timestamptz, text, text, boolean, bytea, text) TO obol_service;

-- Adds a key to a license in place of p_only_key_id, with the name, limits and expiry of that one; null: in place of
-- all its keys, without limits of its own. What it takes the place of ends p_overlap_s seconds from now, so that
-- clients can change over without a gap; returns when. Once per digest: the same again changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), KEY_NOT_FOUND (none, or it has ended).
CREATE OR REPLACE FUNCTION obol.rotate_license_key_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_overlap_s integer,
    p_key_id uuid,
    p_only_key_id uuid,
    p_token_digest bytea,
    p_request_id text
) RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz;
    v_ends_at timestamptz;
    v_old obol.license_keys;
    v_new obol.license_keys;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_ends_at := v_now + make_interval(secs => p_overlap_s);

    SELECT k.* INTO v_new FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    IF FOUND THEN
        RETURN v_new.created_at + make_interval(secs => p_overlap_s);
    END IF;
    IF p_only_key_id IS NOT NULL THEN
        SELECT k.* INTO v_old FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_id = p_only_key_id
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now);
        IF NOT FOUND THEN
            PERFORM obol.refuse_key(p_license_id, p_only_key_id);
        END IF;
    END IF;

    INSERT INTO obol.license_keys (license_id, key_digest, key_id, created_at, name, limits, expires_at)
    VALUES (p_license_id, p_key_digest, p_key_id, v_now, COALESCE(v_old.name, ''), v_old.limits, v_old.expires_at);
    UPDATE obol.license_keys k
       SET expires_at = v_ends_at
     WHERE k.license_id = p_license_id AND k.key_digest <> p_key_digest
       AND (p_only_key_id IS NULL OR k.key_id = p_only_key_id)
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > v_ends_at);
    PERFORM obol.note_act(p_license_id, v_actor, 'rotate_license_key', p_key_id::text, jsonb_build_object(
        'overlap_s', p_overlap_s, 'older_keys_end_at', v_ends_at, 'only_key_id', p_only_key_id), p_request_id);
    RETURN v_ends_at;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, uuid, uuid, bytea, text) TO obol_service;

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
