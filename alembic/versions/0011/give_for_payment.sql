-- Gives credits for a payment, as a grant: the first of a payment has its id. The caller has the license locked.
CREATE OR REPLACE FUNCTION obol.give_for_payment(
    p_license_id uuid,
    p_payment_id uuid,
    p_grant_id uuid,
    p_amount bigint,
    p_lifetime interval,
    p_actor text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz;
BEGIN
    -- What was used so far is of the grants that there were.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    PERFORM obol.check_room(p_license_id, p_amount);
    INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, expires_at, has_started,
                             reason, reference, created_at)
    VALUES (p_license_id, p_grant_id, p_amount, p_amount, 50, v_now, v_now + p_lifetime, false,
            'purchase', 'payment ' || p_payment_id, v_now);
    INSERT INTO obol.payment_grants (license_id, grant_id, payment_id) VALUES (p_license_id, p_grant_id, p_payment_id);
    PERFORM obol.bring_up_to_date(p_license_id, true);
    PERFORM obol.note_act(p_license_id, p_actor, 'grant_credits', p_grant_id::text,
                          jsonb_build_object('amount', p_amount, 'payment_id', p_payment_id), NULL);
    PERFORM obol.write_event(p_license_id, 'grant.created', p_grant_id, jsonb_build_object(
        'grant_id', p_grant_id, 'amount', p_amount, 'starts_at', obol.utc(v_now), 'expires_at', obol.utc(v_now + p_lifetime),
        'reason', 'purchase', 'reference', 'payment ' || p_payment_id,
        'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
END
$$;

REVOKE ALL ON FUNCTION obol.give_for_payment(uuid, uuid, uuid, bigint, interval, text) FROM PUBLIC;
