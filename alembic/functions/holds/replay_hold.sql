-- What open_hold already did for this hold id or this idempotency key: one row in open_hold's
-- shape, or none when there is nothing to replay. It runs before the license's state is
-- looked at: a license that has expired since still gets the answer that it paid for.
CREATE OR REPLACE FUNCTION obol.replay_hold(
    p_license_id uuid,
    p_hold_id uuid,
    p_idempotency_key text,
    p_fingerprint bytea
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hold obol.holds;
    v_key obol.idempotency_keys;
BEGIN
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id;
    IF FOUND THEN
        IF v_hold.state <> 'held' OR v_hold.expires_at <= clock_timestamp() THEN
            PERFORM obol.refuse_hold(v_hold, 0);
        END IF;
        RETURN QUERY SELECT 'opened', v_hold.hold_id, v_hold.amount, v_hold.state, v_hold.expires_at,
                            v_hold.available_after, NULL::bigint, NULL::bigint, NULL::bytea;
        RETURN;
    END IF;

    v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
    IF v_key.cause_id IS NULL THEN
        RETURN;
    END IF;
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = v_key.cause_id;
    IF v_hold.process_id IS NOT NULL AND v_hold.state = 'held' THEN
        RAISE EXCEPTION 'IDEMPOTENCY_IN_PROGRESS: the first call with this idempotency key is still running'
            USING ERRCODE = 'OB419', HINT = 'Ask again in a moment.';
    END IF;
    IF v_hold.process_id IS NOT NULL AND v_hold.state = 'settled' AND (
           v_key.answer IS NULL OR v_key.answer_expires_at <= clock_timestamp()
           OR (obol.refundable(p_license_id, v_hold.hold_id) = 0
               AND EXISTS (SELECT FROM obol.ledger_entries e
                            WHERE e.license_id = p_license_id AND e.kind = 'refund'
                              AND e.cause_id = v_hold.hold_id))) THEN
        RAISE EXCEPTION 'ANSWER_GONE: the answer to this idempotency key is no longer stored'
            USING ERRCODE = 'OB410', HINT = 'Nothing was charged now. Use a new key for a new answer.';
    END IF;
    -- A process's hold that is neither was freed between the two reads: let the caller go on.
    RETURN QUERY
        SELECT 'replayed', v_hold.hold_id, v_hold.amount,
               CASE WHEN v_hold.state = 'held' AND v_hold.expires_at <= clock_timestamp() THEN 'expired'
                    ELSE v_hold.state END,
               v_hold.expires_at, v_hold.available_after, -e.amount, e.balance_after, v_key.answer
          FROM (VALUES (1)) one
          LEFT JOIN obol.ledger_entries e
                 ON e.license_id = p_license_id AND e.kind = 'charge' AND e.cause_id = v_hold.hold_id
         WHERE v_hold.process_id IS NULL OR v_hold.state = 'settled';
END
$$;

REVOKE ALL ON FUNCTION obol.replay_hold(uuid, uuid, text, bytea) FROM PUBLIC;
