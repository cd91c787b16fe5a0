-- Ends a hold at what was used: charges p_amount, gives the rest of the hold back, books the
-- entry and stores the answer, in one transaction. The same call again gives the same result.
-- p_process_id says whose hold it is: null for a client's. Only a process's hold may
--   * be charged more than was held (usage beyond the bound): the rest comes out of what is
--     available, as far as p_max_credits (what the client pays at most; null: whatever it costs),
--     and what is still missing is booked as shortfall;
--   * be settled after it expired (the process was stopped and woke up): once, if the credits
--     are there, and only while its idempotency key still names it.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, HOLD_NOT_FOUND, HOLD_NOT_OPEN,
-- SETTLE_EXCEEDS_HOLD; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.settle_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_amount bigint,
    p_usage jsonb,
    p_answer bytea,
    p_answer_ttl_s integer,
    p_max_credits bigint
) RETURNS TABLE (charge bigint, shortfall bigint, balance bigint, amount bigint, expires_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_from text := 'held';
    v_charge bigint := LEAST(p_amount, p_max_credits);
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
    v_notify_below bigint;
    v_is_current boolean := false;
BEGIN
    IF p_amount IS NULL OR p_amount < 0 THEN
        PERFORM obol.refuse_amount('amount', 0);
    END IF;

    -- The hold that is joined may be stale after a lock wait: book_charge's guarded update of
    -- the hold decides, and takes this one back with it. The guard on held is for the same case:
    -- a twin that has ended the hold meanwhile must lead to its result, not to a failed CHECK.
    LOOP
        UPDATE obol.licenses l
           SET balance = l.balance - p_amount, held = l.held - h.amount, entry_count = l.entry_count + 1
          FROM obol.holds h
         WHERE l.license_id = p_license_id
           AND h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
           AND h.process_id IS NOT DISTINCT FROM p_process_id
           AND (h.expires_at IS NULL OR h.expires_at > v_now)
           AND (l.next_change_at > v_now OR v_is_current)
           AND h.amount >= p_amount AND l.held >= h.amount AND (p_max_credits IS NULL OR p_max_credits >= p_amount)
           AND EXISTS (SELECT FROM obol.license_key_validity k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                          AND (k.valid_until > v_now
                               OR (k.valid_from <= h.opened_at AND k.valid_until > h.opened_at)))
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
        -- A change of the grants that comes while this waits for the lock may as well come after it: what is
        -- charged was held.
        EXIT WHEN v_balance IS NOT NULL OR v_is_current OR NOT obol.bring_up_to_date(p_license_id);
        v_is_current := true;
    END LOOP;
    -- Also the check of the key, as of now, and the time of the hold as it is under the lock:
    -- v_now may be from before a wait for it.
    v_hold := obol.find_hold(p_license_id, p_key_digest, p_hold_id, p_process_id);
    IF v_balance IS NOT NULL AND v_hold.state = 'held' AND v_hold.expires_at <= clock_timestamp() THEN
        PERFORM obol.refuse_hold(v_hold, p_amount);
    END IF;
    IF v_balance IS NULL AND v_hold.state = 'settled' THEN
        RETURN QUERY SELECT -e.amount, e.shortfall, e.balance_after, v_hold.amount, v_hold.expires_at
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'charge' AND e.cause_id = p_hold_id
           AND e.shortfall - e.amount = p_amount;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF v_balance IS NULL AND p_process_id IS NOT NULL AND v_hold.state = 'expired' THEN
        v_from := 'expired';
        UPDATE obol.licenses l
           SET balance = l.balance - v_charge, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id AND l.balance - l.held >= v_charge
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
    ELSIF v_balance IS NULL AND p_process_id IS NOT NULL AND v_hold.state = 'held' AND v_hold.amount < p_amount THEN
        -- Only under the lock is what is available still so when it is taken: on a license that many calls use
        -- at once, to read first and compare afterwards would hardly ever succeed.
        PERFORM obol.lock_license(p_license_id);
        SELECT l.balance - l.held INTO v_available
          FROM obol.licenses l WHERE l.license_id = p_license_id;
        v_charge := LEAST(p_amount, p_max_credits, v_hold.amount + v_available);
        UPDATE obol.licenses l
           SET balance = l.balance - v_charge, held = l.held - v_hold.amount, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id AND l.balance - l.held = v_available AND l.held >= v_hold.amount
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
    END IF;
    IF v_balance IS NULL THEN
        PERFORM obol.refuse_hold(v_hold, p_amount);
    END IF;

    PERFORM obol.book_charge(v_hold, v_from, v_charge, p_amount - v_charge, v_entry_no, v_balance,
                             p_usage, p_answer, p_answer_ttl_s);
    IF v_balance <= v_notify_below AND v_charge > 0 THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    RETURN QUERY SELECT v_charge, p_amount - v_charge, v_balance, v_hold.amount, v_hold.expires_at;
END
$$;

REVOKE ALL ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer, bigint) TO obol_service;
