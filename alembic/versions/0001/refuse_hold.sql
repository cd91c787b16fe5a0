-- Raises why a hold could not be ended at p_amount (0 for a release): HOLD_NOT_OPEN,
-- SETTLE_EXCEEDS_HOLD, or 40001 when neither is so and another call only came between.
CREATE OR REPLACE FUNCTION obol.refuse_hold(p_hold obol.holds, p_amount bigint)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_hold.state <> 'held' OR p_hold.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'HOLD_NOT_OPEN: the hold is %',
                CASE p_hold.state WHEN 'held' THEN 'expired' ELSE p_hold.state END
            USING ERRCODE = 'OB409', HINT = 'Open a new hold, or deduct the amount.';
    END IF;
    IF p_hold.process_id IS NULL AND p_amount > p_hold.amount THEN
        RAISE EXCEPTION 'SETTLE_EXCEEDS_HOLD: % is more than the % credits held', p_amount, p_hold.amount
            USING ERRCODE = 'OB421',
                  DETAIL = json_build_object('required', p_amount, 'held', p_hold.amount),
                  HINT = 'Settle at most what is held, and deduct the rest.';
    END IF;
    PERFORM obol.ask_again('the hold changed');
END
$$;

REVOKE ALL ON FUNCTION obol.refuse_hold(obol.holds, bigint) FROM PUBLIC;
