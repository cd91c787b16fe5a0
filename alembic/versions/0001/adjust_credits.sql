-- Corrects a balance: p_amount, above zero or below, with the reason for it. What is held is not
-- touched. Once per adjustment id, and once per idempotency key, as in grant_credits.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE (no such license), IDEMPOTENCY_KEY_REUSED,
-- INSUFFICIENT_CREDITS; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.adjust_credits(
    p_license_id uuid,
    p_adjustment_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reason text
) RETURNS TABLE (adjustment_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_most constant bigint := 9223372036854775807;
    v_key obol.idempotency_keys;
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    IF p_amount IS NULL OR p_amount = 0 OR p_amount < -c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: amount must be from -% to %, and not 0', c_most, c_most
            USING ERRCODE = 'OB400';
    END IF;

    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1
     WHERE l.license_id = p_license_id
       AND (p_amount < 0 OR l.balance <= c_most - p_amount)
       AND (p_amount > 0 OR l.balance - l.held >= -p_amount)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = p_license_id AND e.kind = 'adjustment'
                          AND e.cause_id = p_adjustment_id)
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = p_license_id AND i.scope = 'operator'
                          AND i.idempotency_key = p_idempotency_key AND i.in_force)
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;

    IF NOT FOUND THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
        v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'adjustment'
           AND e.cause_id = COALESCE(v_key.cause_id, p_adjustment_id);
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT l.balance, l.balance - l.held INTO v_balance, v_available
          FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF p_amount > 0 AND v_balance > c_most - p_amount THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the balance would pass % credits', c_most
                USING ERRCODE = 'OB400';
        ELSIF p_amount < 0 AND v_available < -p_amount THEN
            RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are to be taken and % are available',
                    -p_amount, v_available
                USING ERRCODE = 'OB402',
                      DETAIL = json_build_object('required', -p_amount, 'available', v_available),
                      HINT = 'Take less. What is held is for calls that run.';
        END IF;
        PERFORM obol.ask_again('the license changed');
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint,
                                           p_adjustment_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'adjustment', p_amount, v_balance,
                            p_adjustment_id, p_reason);
    RETURN QUERY SELECT p_adjustment_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.adjust_credits(uuid, uuid, bigint, text, bytea, text) FROM PUBLIC;
