-- What a payment comes to now, in credits. entitled: what is paid for, once the money that went back is taken off;
-- kept: what the license had of it or can still have, which is all that was given and did not lapse; taken: what was
-- taken back because of the money, and not given again. Money that went back is of refunds, and of disputes that are
-- open or lost; what it takes is rounded up.
CREATE OR REPLACE FUNCTION obol.sum_up_payment(p_license_id uuid, p_payment_id uuid)
RETURNS TABLE (entitled bigint, kept bigint, taken bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_payment obol.payments;
    v_money numeric;
    v_kept bigint;
    v_again bigint;
    v_taken bigint;
BEGIN
    SELECT p.* INTO v_payment FROM obol.payments p WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    SELECT v_payment.refunded + COALESCE(sum((d.value ->> 'amount')::bigint), 0) INTO v_money
      FROM jsonb_each(v_payment.disputes) d WHERE d.value ->> 'state' IN ('open', 'lost');
    SELECT COALESCE(sum(g.amount - g.lapsed), 0), COALESCE(sum(g.amount) FILTER (WHERE g.grant_id <> p_payment_id), 0)
      INTO v_kept, v_again
      FROM obol.payment_grants p
      JOIN obol.grants g ON g.license_id = p.license_id AND g.grant_id = p.grant_id
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    SELECT COALESCE(-sum(e.amount), 0) INTO v_taken
      FROM obol.payment_grants p
      JOIN obol.ledger_entries e ON e.license_id = p.license_id AND e.cause_id = p.grant_id AND e.kind = 'void'
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id
       -- Not what an operator voided.
       AND (p.is_voided OR e.reference = 'payment ' || p_payment_id);
    RETURN QUERY SELECT v_payment.credits
                        - ceil(v_payment.credits * LEAST(v_money, v_payment.price) / v_payment.price)::bigint,
                        v_kept, v_taken - v_again;
END
$$;

REVOKE ALL ON FUNCTION obol.sum_up_payment(uuid, uuid) FROM PUBLIC;
