-- Writes rows of the price book, all or none, and returns those that change it, with the price
-- that was in force for the pattern before. p_rows is a list of objects as in price_book:
-- model_pattern, effective_from (null: now), price (null: what the pattern names is not sold).
--   * A row that says what is in force for its pattern at its time is passed over, so that the
--     same list twice adds nothing.
--   * The past is not rewritten. A row of the future may be replaced.
--   * No tier is cheaper than the one below: a hold counts on the longest prompt being dearest.
-- With p_dry_run nothing is written. Errors: INVALID_AMOUNT.
CREATE OR REPLACE FUNCTION obol.set_prices(p_rows jsonb, p_dry_run boolean)
RETURNS TABLE (model_pattern text, effective_from timestamptz, before jsonb, after jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_row record;
    v_known boolean;
    v_before jsonb;
BEGIN
    -- Readers go on; another writer waits, and then compares with what this one has written.
    LOCK TABLE obol.prices IN SHARE ROW EXCLUSIVE MODE;
    v_now := clock_timestamp();
    FOR v_row IN
        SELECT r.model_pattern AS pattern, COALESCE(r.effective_from, v_now) AS begins,
               NULLIF(r.price, 'null') AS price
          FROM jsonb_to_recordset(p_rows) AS r (model_pattern text, effective_from timestamptz, price jsonb)
    LOOP
        SELECT true, b.price INTO v_known, v_before FROM obol.price_book b
         WHERE b.model_pattern = v_row.pattern AND b.effective_from <= v_row.begins
         ORDER BY b.effective_from DESC LIMIT 1;
        CONTINUE WHEN v_known AND v_before IS NOT DISTINCT FROM v_row.price;

        IF v_row.begins < v_now THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the price of % cannot begin at %, which is past', v_row.pattern, v_row.begins
                USING ERRCODE = 'OB400', HINT = 'Leave the time out for now, or name a later one.';
        END IF;
        PERFORM FROM (
            SELECT (f.figures ->> class)::bigint AS figure,
                   lag((f.figures ->> class)::bigint) OVER (PARTITION BY class ORDER BY f.step) AS below
              FROM jsonb_array_elements(jsonb_build_array(v_row.price) || COALESCE(v_row.price -> 'tiers', '[]'))
                   WITH ORDINALITY AS f (figures, step)
             CROSS JOIN unnest(ARRAY['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read']) AS class
        ) AS tiers WHERE figure < below;
        IF FOUND THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: a tier of % is cheaper than the one below', v_row.pattern
                USING ERRCODE = 'OB400', HINT = 'Give it at least the figures of the tier below.';
        END IF;

        IF NOT p_dry_run THEN
            DELETE FROM obol.prices p WHERE p.model_pattern = v_row.pattern AND p.effective_from = v_row.begins;
            INSERT INTO obol.prices (model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)
            SELECT v_row.pattern, v_row.begins, f.input, f.output, f.cache_write_5m, f.cache_write_1h, f.cache_read
              FROM jsonb_populate_record(NULL::obol.prices, COALESCE(v_row.price, '{}')) AS f;
            INSERT INTO obol.price_tiers (model_pattern, effective_from, above_input_tokens,
                                          input, output, cache_write_5m, cache_write_1h, cache_read)
            SELECT v_row.pattern, v_row.begins, f.above_input_tokens,
                   f.input, f.output, f.cache_write_5m, f.cache_write_1h, f.cache_read
              FROM jsonb_populate_recordset(NULL::obol.price_tiers, COALESCE(v_row.price -> 'tiers', '[]')) AS f;
            PERFORM FROM obol.price_book b
              WHERE b.model_pattern = v_row.pattern AND b.effective_from = v_row.begins
                AND b.price IS NOT DISTINCT FROM v_row.price;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'INVALID_AMOUNT: the price of % is not of the form of the price book', v_row.pattern
                    USING ERRCODE = 'OB400';
            END IF;
        END IF;
        RETURN QUERY SELECT v_row.pattern, v_row.begins, v_before, v_row.price;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.set_prices(jsonb, boolean) FROM PUBLIC;
