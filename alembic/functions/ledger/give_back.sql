-- Gives back p_amount of what a charge or a deduction took, as the refund p_refund_id, to the grants
-- that it came from: what was drawn last first, so that the longest-lived credits come back first. What came from a
-- grant that has ended since lapses again at once, and both entries say so. What was taken before
-- grants had lifetimes comes back as a grant of its own. The caller has brought the license up to
-- date, whatever was due, and has looked that so much is left to give back.
CREATE OR REPLACE FUNCTION obol.give_back(
    p_license_id uuid,
    p_cause_id uuid,
    p_refund_id uuid,
    p_amount bigint,
    p_reference text
) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_draw record;
    v_begin bigint;
    v_balance bigint;
    v_entry_no bigint;
    v_given_back bigint := 0;
BEGIN
    PERFORM obol.check_room(p_license_id, p_amount);
    -- How much of it has come back: as far as that the draws are done with.
    SELECT COALESCE(sum(r.amount), 0) INTO v_begin FROM obol.ledger_entries r
     WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id;
    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1, allotted_entry_no = l.entry_count + 1
     WHERE l.license_id = p_license_id
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
    PERFORM obol.book_part(p_license_id, v_entry_no, 'refund', p_amount, v_balance, p_cause_id, p_refund_id, p_reference);

    FOR v_draw IN SELECT d.grant_id, LEAST(d.amount, v_begin + p_amount - d.before) - GREATEST(0, v_begin - d.before) AS amount
                    FROM obol.list_draws(p_license_id, p_cause_id) d
                   WHERE d.before < v_begin + p_amount AND d.before + d.amount > v_begin LOOP
        UPDATE obol.grants g
           SET credits_left = g.credits_left + v_draw.amount
         WHERE g.license_id = p_license_id AND g.grant_id = v_draw.grant_id;
        INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
        VALUES (p_license_id, v_draw.grant_id, v_entry_no, v_entry_no,
                v_balance - p_amount + v_given_back, v_balance - p_amount + v_given_back + v_draw.amount);
        v_given_back := v_given_back + v_draw.amount;
    END LOOP;
    IF v_given_back < p_amount THEN
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started,
                                 reason, reference, created_at)
        VALUES (p_license_id, p_refund_id, p_amount - v_given_back, p_amount - v_given_back, 50, v_now, true,
                'refund', p_reference, v_now);
    END IF;
    -- A grant that it came back to may have ended.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    RETURN v_entry_no;
END
$$;

REVOKE ALL ON FUNCTION obol.give_back(uuid, uuid, uuid, bigint, text) FROM PUBLIC;
