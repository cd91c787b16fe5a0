-- Admission: sets p_amount credits aside, or what is available and a limit of credits has left, if that is at least
-- p_min_amount. A process's hold (p_process_id) lives as long as its process's lease; a client's (no process) until
-- p_expires_in_s have passed. outcome: 'opened', or 'replayed' when the idempotency key already names a client's hold or
-- a settled hold whose answer is stored; state is then the hold's as it is by now. Asked again with
-- the same hold id, it gives the hold. p_max_unpaid_tokens: see admissible_amount.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, HOLD_NOT_OPEN (this id has ended), IDEMPOTENCY_KEY_REUSED,
-- IDEMPOTENCY_IN_PROGRESS, ANSWER_GONE, those of check_limits and of admissible_amount; 40001: ask again, same id.
CREATE OR REPLACE FUNCTION obol.open_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_amount bigint,
    p_min_amount bigint,
    p_expires_in_s integer,
    p_model text,
    p_price jsonb,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_max_unpaid_tokens bigint
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_is_priced boolean := p_process_id IS NULL OR p_price IS NOT NULL;
    v_amount bigint := p_amount;
    v_available bigint;
    v_license_expires_at timestamptz;
    v_expires_at timestamptz;
    v_next_change_at timestamptz;
    v_is_current boolean := false;
    v_limits jsonb;
    v_key_id uuid;
    v_limited_by uuid[];
    v_limited_amount bigint;
BEGIN
    -- A free model makes a process's hold of nothing; a client has no use for one.
    IF p_amount IS NULL OR p_amount < 0 OR (p_amount = 0 AND p_process_id IS NULL) THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    LOOP
        UPDATE obol.licenses l
           SET held = l.held + v_amount
         WHERE l.license_id = p_license_id
           AND l.status = 'active'
           AND (l.expires_at IS NULL OR l.expires_at > v_now)
           AND (l.next_change_at > v_now OR v_is_current)
           AND l.balance - l.held >= v_amount
           AND v_is_priced
           AND (p_max_unpaid_tokens IS NULL OR l.unpaid_tokens < p_max_unpaid_tokens OR l.unpaid_until <= v_now)
           AND EXISTS (SELECT FROM obol.license_key_validity k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                          AND k.valid_until > v_now)
           AND NOT EXISTS (SELECT FROM obol.holds h
                            WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id)
           AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                            WHERE i.license_id = p_license_id AND i.scope = 'license'
                              AND i.idempotency_key = p_idempotency_key AND i.in_force)
        RETURNING l.balance - l.held, l.expires_at, l.next_change_at, l.limits
          INTO v_available, v_license_expires_at, v_next_change_at, v_limits;
        IF FOUND THEN
            EXIT WHEN v_is_current OR v_next_change_at > clock_timestamp();
            -- A grant started or ended while this waited for the lock, which it has now: once more.
            UPDATE obol.licenses l SET held = l.held - v_amount WHERE l.license_id = p_license_id;
        END IF;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id,
                                                      p_idempotency_key, p_fingerprint) r;
        IF FOUND THEN
            RETURN;
        END IF;
        IF v_is_current OR NOT obol.bring_up_to_date(p_license_id) THEN
            v_limited_amount := obol.check_limits(p_license_id, p_key_digest, p_model, v_amount, p_min_amount, 1, clock_timestamp());
            -- What the limits have lowered may be there: that is tried before it is looked for what else is wrong.
            v_amount := CASE WHEN v_limited_amount < v_amount THEN v_limited_amount
                             ELSE obol.admissible_amount(p_license_id, p_min_amount, v_amount, p_model, v_is_priced,
                                                         p_max_unpaid_tokens) END;
        ELSE
            v_is_current := true;
        END IF;
    END LOOP;

    -- The lock is ours, and v_now may be from before a wait for it: key or license may have ended.
    SELECT u.key_id, u.amount, u.limited_by, u.used_at INTO v_key_id, v_limited_amount, v_limited_by, v_now
      FROM obol.use_key(p_license_id, p_key_digest, true, v_limits, p_model, v_amount, p_min_amount, 1) u;
    IF v_license_expires_at <= v_now THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    IF v_limited_amount < v_amount THEN
        UPDATE obol.licenses l SET held = l.held - v_amount + v_limited_amount
         WHERE l.license_id = p_license_id
        RETURNING l.balance - l.held, v_limited_amount INTO v_available, v_amount;
    END IF;
    v_expires_at := CASE WHEN p_process_id IS NULL THEN v_now + make_interval(secs => p_expires_in_s) END;
    INSERT INTO obol.holds (license_id, hold_id, amount, process_id, expires_at, model, price,
                            idempotency_key, reference, available_after, opened_at, key_id, limited_by)
    VALUES (p_license_id, p_hold_id, v_amount, p_process_id, v_expires_at, p_model, p_price,
            p_idempotency_key, p_reference, v_available, v_now, v_key_id, v_limited_by)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the hold was opened');
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_hold_id);
    END IF;
    RETURN QUERY SELECT 'opened', p_hold_id, v_amount, 'held', v_expires_at, v_available, NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

REVOKE ALL ON FUNCTION obol.open_hold(uuid, bytea, uuid, uuid, bigint, bigint, integer, text, jsonb, text, bytea, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.open_hold(uuid, bytea, uuid, uuid, bigint, bigint, integer, text, jsonb, text, bytea, text, bigint) TO obol_service;
