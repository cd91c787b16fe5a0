-- The order in which admission refuses a license, once its key is good and there is nothing to
-- replay: INACTIVE_LICENSE, EXPIRED_LICENSE, LIMIT_EXCEEDED, MODEL_NOT_PRICED,
-- INSUFFICIENT_CREDITS. It runs after a guarded write has failed, to find out why.
-- p_max_unpaid_tokens: what a license may get within an hour of streams that broke off (null: no
-- limit); such an answer is not charged, so whoever can make one break off must not do it for ever.
-- Returns what is available, when that is at least p_min_amount. Raises 40001 when even p_amount
-- is available (null: any amount is welcome): then another call moved the row between the two
-- statements, and the caller asks again with the same id.
CREATE OR REPLACE FUNCTION obol.admissible_amount(
    p_license_id uuid,
    p_min_amount bigint,
    p_amount bigint,
    p_model text,
    p_is_priced boolean,
    p_max_unpaid_tokens bigint
) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_available bigint;
    v_unpaid_tokens bigint;
    v_wait_s integer;
BEGIN
    PERFORM obol.check_active(p_license_id);
    -- It is -infinity at first, from which PostgreSQL before 17 subtracts nothing.
    SELECT l.balance - l.held, l.unpaid_tokens,
           CASE WHEN l.unpaid_until > clock_timestamp()
                THEN ceil(extract(epoch FROM l.unpaid_until - clock_timestamp())) ELSE 0 END
      INTO v_available, v_unpaid_tokens, v_wait_s
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF v_unpaid_tokens >= p_max_unpaid_tokens AND v_wait_s > 0 THEN
        RAISE EXCEPTION 'LIMIT_EXCEEDED: too many answers of this license broke off and were not charged'
            USING ERRCODE = 'OB429',
                  DETAIL = json_build_object('limit', 'unpaid_tokens_per_hour', 'limit_value', p_max_unpaid_tokens,
                                             'used', v_unpaid_tokens, 'retry_after_s', v_wait_s),
                  HINT = format('Ask again in %s s.', v_wait_s);
    END IF;
    IF NOT p_is_priced THEN
        RAISE EXCEPTION 'MODEL_NOT_PRICED: the model % has no price', p_model
            USING ERRCODE = 'OB424', HINT = 'Use a model that the price book names.';
    END IF;
    IF v_available < p_min_amount THEN
        RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are needed and % are available',
                p_min_amount, v_available
            USING ERRCODE = 'OB402',
                  DETAIL = json_build_object('required', p_min_amount, 'available', v_available),
                  HINT = 'Have credits granted, or ask for less.';
    END IF;
    IF v_available >= p_amount THEN
        PERFORM obol.ask_again('the license changed');
    END IF;
    RETURN v_available;
END
$$;

REVOKE ALL ON FUNCTION obol.admissible_amount(uuid, bigint, bigint, text, boolean, bigint) FROM PUBLIC;
