-- Begins a payment for a package, which it keeps as it is now. Once per payment id, and once per idempotency key: the
-- same again gives the payment that there is. checkout_url is null until note_checkout has said it.
-- Errors, in order: INVALID_LICENSE, IDEMPOTENCY_KEY_REUSED, ANSWER_GONE (it was begun an hour ago and has no checkout:
-- by now Stripe might make a second one), INACTIVE_LICENSE, EXPIRED_LICENSE, PACKAGE_NOT_FOUND, LIMIT_EXCEEDED; 40001
-- means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.open_payment(
    p_license_id uuid,
    p_digest bytea,
    p_payment_id uuid,
    p_package_id text,
    p_success_url text,
    p_cancel_url text,
    p_idempotency_key text,
    p_fingerprint bytea
) RETURNS TABLE (payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint,
                 success_url text, cancel_url text, checkout_url text, expires_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    c_most_pending constant bigint := 20;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_payment_id uuid;
    v_payment obol.payments;
    v_package obol.packages;
    v_pending bigint;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
    v_payment_id := COALESCE(v_key.cause_id, p_payment_id);
    SELECT p.* INTO v_payment FROM obol.payments p
     WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
    IF FOUND THEN
        IF v_payment.checkout_url IS NULL AND v_payment.created_at < v_now - interval '1 hour' THEN
            RAISE EXCEPTION 'ANSWER_GONE: the checkout of this idempotency key was never made'
                USING ERRCODE = 'OB410', HINT = 'Use a new key. Nothing was paid.';
        END IF;
    ELSE
        PERFORM obol.check_active(p_license_id);
        SELECT k.* INTO v_package FROM obol.packages k WHERE k.package_id = p_package_id AND k.is_active;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'PACKAGE_NOT_FOUND: no package % is sold', p_package_id USING ERRCODE = 'OB425';
        END IF;
        SELECT count(*) INTO v_pending FROM obol.payments p
         WHERE p.license_id = p_license_id AND p.state = 'pending' AND p.expires_at > v_now;
        IF v_pending >= c_most_pending THEN
            RAISE EXCEPTION 'LIMIT_EXCEEDED: % payments of this license are begun and not paid', v_pending
                USING ERRCODE = 'OB429',
                      DETAIL = jsonb_build_object('limit', 'pending_payments', 'limit_value', c_most_pending,
                                                  'used', v_pending, 'retry_after_s', 3600),
                      HINT = 'Pay one of them, or wait until one expires.';
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, v_payment_id);
        END IF;
        INSERT INTO obol.payments
               (license_id, payment_id, package_id, name, price, currency, credits, lifetime_days,
                success_url, cancel_url, state, expires_at, created_at)
        VALUES (p_license_id, v_payment_id, v_package.package_id, v_package.name, v_package.price, v_package.currency,
                v_package.credits, v_package.lifetime_days, p_success_url, p_cancel_url, 'pending',
                date_trunc('second', v_now + interval '12 hours'), v_now);
    END IF;
    RETURN QUERY SELECT p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.success_url, p.cancel_url,
                        p.checkout_url, p.expires_at
                   FROM obol.payments p
                  WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
END
$$;

REVOKE ALL ON FUNCTION obol.open_payment(uuid, bytea, uuid, text, text, text, text, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.open_payment(uuid, bytea, uuid, text, text, text, text, bytea) TO obol_service;
