-- Corrects a balance: p_amount, above zero or below, with the reason for it. What is added is a grant
-- that never expires; what is taken burns like any use, and none of it is of what is held. Once per
-- adjustment id, and once per idempotency key of the operator: the same again gives the first result.
-- Errors, in order: INVALID_AMOUNT, ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED, INSUFFICIENT_CREDITS; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.adjust_credits_v2(
    p_license_id uuid,
    p_adjustment_id uuid,
    p_amount bigint,
    p_reason text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (adjustment_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    c_most constant bigint := 9223372036854775807;
    v_actor text;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_adjustment_id uuid;
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
    v_notify_below bigint;
BEGIN
    IF p_amount IS NULL OR p_amount = 0 OR p_amount < -c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: amount must be from -% to %, and not 0', c_most, c_most
            USING ERRCODE = 'OB400';
    END IF;
    v_actor := obol.check_token(p_token_digest, 'grant');
    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_adjustment_id := COALESCE(v_key.cause_id, p_adjustment_id);
    RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'adjustment' AND e.cause_id = v_adjustment_id;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT l.balance - l.held INTO v_available FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF p_amount > 0 THEN
        PERFORM obol.check_room(p_license_id, p_amount);
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started, reason,
                                 reference, created_at)
        VALUES (p_license_id, v_adjustment_id, p_amount, p_amount, 50, v_now, true, 'adjustment', p_reason, v_now);
    ELSIF v_available < -p_amount THEN
        RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are to be taken and % are available', -p_amount, v_available
            USING ERRCODE = 'OB402',
                  DETAIL = json_build_object('required', -p_amount, 'available', v_available),
                  HINT = 'Take less. What is held is for calls that run.';
    END IF;

    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1,
           -- What is added changes the set of grants, and what is taken is a use to be allotted.
           allotted_entry_no = CASE WHEN p_amount > 0 THEN l.entry_count + 1 ELSE l.allotted_entry_no END
     WHERE l.license_id = p_license_id
    RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_adjustment_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'adjustment', p_amount, v_balance, v_adjustment_id, p_reason);
    IF p_amount > 0 THEN
        PERFORM obol.arm_alerts(p_license_id, v_balance);
    ELSIF v_balance <= v_notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'adjust_credits', v_adjustment_id::text,
                          jsonb_build_object('amount', p_amount, 'reason', p_reason), p_request_id);
    RETURN QUERY SELECT v_adjustment_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.adjust_credits_v2(uuid, uuid, bigint, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.adjust_credits_v2(uuid, uuid, bigint, text, text, bytea, bytea, text) TO obol_service;
