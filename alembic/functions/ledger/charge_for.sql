-- The charge for a usage at a price, as service.pricing.charge computes it: verify() uses this
-- one, so that each checks the other. Each attempt of a call (most have but one) is charged at
-- the price of its own model, in the tier of its whole prompt; the sum is rounded up once.
-- NULL, never a silent zero, when a figure that is needed is missing, when a count is no
-- number, or when price or usage have another form. No attempts at all are 0.
CREATE OR REPLACE FUNCTION obol.charge_for(p_price jsonb, p_usage jsonb)
RETURNS numeric
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_attempt jsonb;
    v_tokens jsonb;
    v_price jsonb;
    v_prompt numeric;
    v_tier jsonb;
    v_above numeric;
    v_millionths numeric := 0;
BEGIN
    FOR v_attempt IN
        SELECT a.attempt
          FROM jsonb_array_elements(COALESCE(p_usage -> 'attempts', jsonb_build_array(p_usage))) AS a (attempt)
    LOOP
        -- A class that the attempt does not name is 0. If the attempt is no object, || makes an array
        -- of the two; an array has no classes, so every figure below is NULL, and so is the charge.
        v_tokens := '{"input": 0, "output": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}'::jsonb
                    || v_attempt;
        v_price := COALESCE(p_price -> 'models' -> (v_attempt ->> 'model'), p_price);
        v_prompt := (v_tokens -> 'input')::numeric + (v_tokens -> 'cache_write_5m')::numeric
                    + (v_tokens -> 'cache_write_1h')::numeric + (v_tokens -> 'cache_read')::numeric;
        IF v_price -> 'tiers' IS NOT NULL THEN
            -- The last tier that the prompt is above; before all, one that does not say where it begins.
            SELECT t.tier, (t.tier -> 'above_input_tokens')::numeric INTO v_tier, v_above
              FROM jsonb_array_elements(v_price -> 'tiers') AS t (tier)
             WHERE ((t.tier -> 'above_input_tokens')::numeric < v_prompt) IS NOT FALSE
             ORDER BY 2 DESC NULLS FIRST LIMIT 1;
            IF FOUND AND v_above IS NULL THEN
                RETURN NULL;
            END IF;
            v_price := COALESCE(v_tier, v_price);
        END IF;
        v_millionths := v_millionths
            + (v_price -> 'input')::numeric * (v_tokens -> 'input')::numeric
            + (v_price -> 'output')::numeric * (v_tokens -> 'output')::numeric
            + (v_price -> 'cache_write_5m')::numeric * (v_tokens -> 'cache_write_5m')::numeric
            + (v_price -> 'cache_write_1h')::numeric * (v_tokens -> 'cache_write_1h')::numeric
            + (v_price -> 'cache_read')::numeric * (v_tokens -> 'cache_read')::numeric;
    END LOOP;
    -- Times a millionth, which is exact; a quotient would be rounded before ceil sees it.
    RETURN ceil(v_millionths * 0.000001);
EXCEPTION WHEN invalid_parameter_value THEN
    -- Text where a number or a list has to be.
    RETURN NULL;
END
$$;

REVOKE ALL ON FUNCTION obol.charge_for(jsonb, jsonb) FROM PUBLIC;
