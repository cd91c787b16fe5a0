-- The second half of settling a hold, after the license row was written and is locked: ends the
-- hold (from the state p_from, or 40001 when another call has ended it meanwhile), books the
-- charge, and stores the answer with the idempotency key that names the hold.
CREATE OR REPLACE FUNCTION obol.book_charge(
    p_hold obol.holds,
    p_from text,
    p_charge bigint,
    p_shortfall bigint,
    p_entry_no bigint,
    p_balance_after bigint,
    p_usage jsonb,
    p_answer bytea,
    p_answer_ttl_s integer
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Nothing waits from here on: whoever ends a hold has locked its license first.
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.holds h
       SET state = 'settled', ended_at = v_now
     WHERE h.license_id = p_hold.license_id AND h.hold_id = p_hold.hold_id AND h.state = p_from;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the hold ended');
    END IF;
    IF p_hold.limited_by IS NOT NULL THEN
        -- One that has expired counts for nothing by then, and again from here on.
        PERFORM obol.count_end(p_hold, p_charge - CASE p_from WHEN 'held' THEN p_hold.amount ELSE 0 END,
                               CASE p_from WHEN 'held' THEN -1 ELSE 0 END);
    END IF;
    PERFORM obol.book_entry(p_hold.license_id, p_entry_no, 'charge', -p_charge, p_balance_after,
                            p_hold.hold_id, p_hold.reference, p_hold.model, p_hold.price,
                            p_usage, p_shortfall, p_hold.key_id);
    IF p_shortfall > 0 THEN
        PERFORM obol.write_event(p_hold.license_id, 'shortfall.booked', p_hold.hold_id, jsonb_build_object(
            'hold_id', p_hold.hold_id, 'shortfall', p_shortfall, 'charge', p_charge, 'model', p_hold.model,
            'balance', p_balance_after));
    END IF;
    IF p_hold.process_id IS NOT NULL AND p_hold.idempotency_key IS NOT NULL THEN
        UPDATE obol.idempotency_keys i
           SET in_force = true, answer = p_answer,
               answer_expires_at = v_now + make_interval(secs => p_answer_ttl_s)
         WHERE i.license_id = p_hold.license_id AND i.scope = 'license'
           AND i.idempotency_key = p_hold.idempotency_key AND i.cause_id = p_hold.hold_id;
        -- The fence: a retry may have opened another hold under this key, and it alone may charge.
        IF NOT FOUND THEN
            RAISE EXCEPTION 'HOLD_NOT_OPEN: the idempotency key names another hold by now'
                USING ERRCODE = 'OB409';
        END IF;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.book_charge(obol.holds, text, bigint, bigint, bigint, bigint, jsonb, bytea, integer) FROM PUBLIC;
