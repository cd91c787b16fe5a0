-- Gives back what a charge or a deduction took, whole and once: the same again gives the
-- first result. p_withheld is the case of refund_withheld, an answer that was charged for and
-- not delivered: nothing is refunded while the answer is stored for a retry with its
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
    -- From before a wait for the lock, at worst, and not looked at again: an answer whose time is
    -- up meanwhile counts as stored, and obol.undelivered_holds then lists its charge.
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_amount bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    UPDATE obol.licenses l
       SET balance = l.balance - e.amount, entry_count = l.entry_count + 1
      FROM obol.ledger_entries e
     WHERE l.license_id = p_license_id
       AND e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id)
       AND NOT (p_withheld AND EXISTS (
               SELECT FROM obol.idempotency_keys i
                WHERE i.license_id = p_license_id AND i.cause_id = p_cause_id
                  AND i.answer IS NOT NULL AND i.answer_expires_at > v_now))
    RETURNING -e.amount, l.balance, l.entry_count INTO v_amount, v_balance, v_entry_no;

    IF FOUND THEN
        PERFORM obol.book_entry(p_license_id, v_entry_no, 'refund', v_amount, v_balance,
                                p_cause_id, p_reference);
        IF p_withheld THEN
            SELECT h.* INTO v_hold FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = p_cause_id;
            PERFORM obol.free_idempotency_key(v_hold);
        END IF;
        RETURN QUERY SELECT v_amount, v_balance;
        RETURN;
    END IF;

    RETURN QUERY SELECT e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'refund' AND e.cause_id = p_cause_id;
    IF NOT FOUND AND NOT p_withheld THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refund(uuid, uuid, text, boolean) FROM PUBLIC;
