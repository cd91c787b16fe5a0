-- Gives back what a charge or a deduction took, whole and once, as the release 0.1.0 did: the same
-- again gives the first result. p_withheld is the case of refund_withheld, an answer that was charged
-- for and not delivered: nothing is refunded while the answer is stored for a retry with its
-- idempotency key, and otherwise the key is freed for a clean new try.
-- Returns no row when there was nothing to refund. Errors: HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.refund(
    p_license_id uuid,
    p_cause_id uuid,
    p_reference text,
    p_withheld boolean DEFAULT false
) RETURNS TABLE (amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_hold obol.holds;
    v_left bigint;
    v_entry_no bigint;
BEGIN
    UPDATE obol.licenses l SET entry_count = l.entry_count WHERE l.license_id = p_license_id;
    RETURN QUERY SELECT r.amount, r.balance_after FROM obol.ledger_entries r
                  WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id
                  ORDER BY r.entry_no LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    v_left := obol.refundable(p_license_id, p_cause_id);
    IF v_left IS NULL AND NOT p_withheld THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
    PERFORM FROM obol.idempotency_keys i
      WHERE i.license_id = p_license_id AND i.cause_id = p_cause_id
        AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp();
    IF v_left IS NULL OR (p_withheld AND FOUND) THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_entry_no := obol.give_back(p_license_id, p_cause_id, gen_random_uuid(), v_left, p_reference);
    RETURN QUERY SELECT e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.entry_no = v_entry_no;
    IF NOT p_withheld THEN
        PERFORM obol.note_act(p_license_id, obol.check_token(NULL, 'grant'), 'refund', p_cause_id::text,
                              jsonb_build_object('amount', v_left, 'reason', p_reference), NULL);
    ELSE
        SELECT h.* INTO v_hold FROM obol.holds h
         WHERE h.license_id = p_license_id AND h.hold_id = p_cause_id;
        PERFORM obol.free_idempotency_key(v_hold);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refund(uuid, uuid, text, boolean) FROM PUBLIC;
