-- What deduct and deduct_v2 do, once it is known who asks. p_is_of_key: whoever has the key, so that the key's limits
-- count as well as the license's, and its use is noted; an operator is only known by a token.
-- Errors: those of deduct.
CREATE OR REPLACE FUNCTION obol.book_deduction(
    p_license_id uuid,
    p_key_digest bytea,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_is_of_key boolean
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_key obol.idempotency_keys;
    v_balance bigint;
    v_entry_no bigint;
    v_expires_at timestamptz;
    v_next_change_at timestamptz;
    v_is_current boolean := false;
    v_limits jsonb;
    v_key_id uuid;
    v_notify_below bigint;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    -- The guarded write takes the row's lock. Its subqueries may see a snapshot from before a
    -- lock wait, so they only save work: what decides are the inserts below.
    LOOP
        UPDATE obol.licenses l
           SET balance = l.balance - p_amount, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id
           AND l.status = 'active'
           AND (l.expires_at IS NULL OR l.expires_at > v_now)
           AND (l.next_change_at > v_now OR v_is_current)
           AND l.balance - l.held >= p_amount
           AND EXISTS (SELECT FROM obol.license_key_validity k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                          AND k.valid_until > v_now)
           AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                            WHERE e.license_id = p_license_id AND e.kind = 'deduction'
                              AND e.cause_id = p_deduction_id)
           AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                            WHERE i.license_id = p_license_id AND i.scope = 'license'
                              AND i.idempotency_key = p_idempotency_key AND i.in_force)
        RETURNING l.balance, l.entry_count, l.expires_at, l.next_change_at, l.limits, l.notify_below
          INTO v_balance, v_entry_no, v_expires_at, v_next_change_at, v_limits, v_notify_below;
        IF FOUND THEN
            EXIT WHEN v_is_current OR v_next_change_at > clock_timestamp();
            -- A grant has started or ended while this waited for the lock, which it has now: once more.
            UPDATE obol.licenses l
               SET balance = l.balance + p_amount, entry_count = l.entry_count - 1
             WHERE l.license_id = p_license_id;
        END IF;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, -e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'deduction'
           AND e.cause_id = COALESCE(v_key.cause_id, p_deduction_id);
        IF FOUND THEN
            IF obol.refundable(p_license_id, COALESCE(v_key.cause_id, p_deduction_id)) = 0 THEN
                RAISE EXCEPTION 'ANSWER_GONE: this deduction was refunded'
                    USING ERRCODE = 'OB410', HINT = 'Nothing was charged now. Use a new key for a new deduction.';
            END IF;
            RETURN;
        END IF;
        IF v_is_current OR NOT obol.bring_up_to_date(p_license_id) THEN
            PERFORM obol.check_limits(p_license_id, CASE WHEN p_is_of_key THEN p_key_digest END, NULL,
                                      p_amount, p_amount, 0, clock_timestamp());
            PERFORM obol.admissible_amount(p_license_id, p_amount, p_amount, NULL, true, NULL);
        END IF;
        v_is_current := true;
    END LOOP;

    -- The lock is ours, and v_now may be from before a wait for it: the key or the license may
    -- have ended since.
    SELECT u.key_id INTO v_key_id
      FROM obol.use_key(p_license_id, p_key_digest, p_is_of_key, v_limits, NULL, p_amount, p_amount, 0) u;
    IF v_expires_at <= clock_timestamp() THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_deduction_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'deduction', -p_amount, v_balance,
                            p_deduction_id, p_reference, p_key_id => v_key_id);
    IF v_balance <= v_notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    RETURN QUERY SELECT p_deduction_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.book_deduction(uuid, bytea, uuid, bigint, text, bytea, text, boolean) FROM PUBLIC;
