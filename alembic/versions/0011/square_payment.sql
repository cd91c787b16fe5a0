-- Makes a paid payment's credits what its money is worth by now: takes of its grants what is left and no hold covers,
-- or gives again what was taken. Where nothing of the money is left the grants are voided, so that what a hold covers
-- lapses when it ends. What cannot be taken is owed: see list_payments. The caller has the license locked.
-- p_event_id: why; what is given again for one event has one id.
CREATE OR REPLACE FUNCTION obol.square_payment(
    p_license_id uuid,
    p_payment_id uuid,
    p_event_id text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_actor text := 'stripe:' || p_event_id;
    v_now timestamptz;
    v_sum record;
    v_grant record;
    v_most bigint;
    v_amount bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT s.entitled, s.kept, s.taken INTO v_sum
      FROM obol.payment_sums s WHERE s.license_id = p_license_id AND s.payment_id = p_payment_id;

    IF v_sum.kept < v_sum.entitled THEN
        v_amount := LEAST(v_sum.taken, v_sum.entitled - v_sum.kept);
        IF v_amount > 0 THEN
            -- With the lifetime that was left when it was taken.
            PERFORM obol.give_for_payment(p_license_id, p_payment_id, md5(p_payment_id || ' ' || p_event_id)::uuid, v_amount,
                                          CASE WHEN g.expires_at IS NOT NULL
                                               THEN GREATEST(g.expires_at - p.taken_at, interval '1 second') END, v_actor)
               FROM obol.payments p
               JOIN obol.grants g ON g.license_id = p.license_id AND g.grant_id = p.payment_id
              WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
        END IF;
        RETURN;
    END IF;

    v_most := v_sum.kept - v_sum.entitled;
    FOR v_grant IN SELECT o.grant_id, o.credits_left, GREATEST(0, l.held - o.before) AS covered
                     FROM obol.list_open_grants(p_license_id) o
                     JOIN obol.payment_grants p ON p.license_id = p_license_id AND p.grant_id = o.grant_id
                     JOIN obol.licenses l ON l.license_id = p_license_id
                    WHERE p.payment_id = p_payment_id AND (o.ends_at IS NULL OR o.ends_at > v_now) LOOP
        IF v_sum.entitled = 0 THEN
            UPDATE obol.grants g SET voided_at = v_now WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
            UPDATE obol.payment_grants p SET is_voided = true
             WHERE p.license_id = p_license_id AND p.grant_id = v_grant.grant_id;
            PERFORM obol.note_act(p_license_id, v_actor, 'void_grant', v_grant.grant_id::text, NULL, NULL);
            CONTINUE;
        END IF;
        v_amount := LEAST(v_most, v_grant.credits_left - v_grant.covered);
        CONTINUE WHEN v_amount <= 0;
        v_most := v_most - v_amount;
        UPDATE obol.grants g SET credits_left = g.credits_left - v_amount, lapsed = g.lapsed + v_amount
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
        UPDATE obol.licenses l
           SET balance = l.balance - v_amount, entry_count = l.entry_count + 1, allotted_entry_no = l.entry_count + 1
         WHERE l.license_id = p_license_id
        RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
        PERFORM obol.book_part(p_license_id, v_entry_no, 'void', -v_amount, v_balance, v_grant.grant_id,
                               gen_random_uuid(), 'payment ' || p_payment_id);
        PERFORM obol.note_act(p_license_id, v_actor, 'take_back', v_grant.grant_id::text,
                              jsonb_build_object('amount', v_amount, 'payment_id', p_payment_id), NULL);
    END LOOP;
    IF v_sum.kept > v_sum.entitled THEN
        UPDATE obol.payments p SET taken_at = v_now WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    END IF;
    -- Takes what was voided.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    -- Of that it tells itself, and not of the parts that were taken here.
    SELECT l.balance INTO v_balance
      FROM obol.licenses l WHERE l.license_id = p_license_id AND l.balance <= l.notify_below;
    IF FOUND THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.square_payment(uuid, uuid, text) FROM PUBLIC;
