-- Limits after a change: what p_change names is set, or taken away where it is null, and the rest stays. Null when
-- none is left. Asks for what each limit may be, so that nothing is stored that admission would stumble over.
-- Errors: INVALID_AMOUNT, with the field.
CREATE OR REPLACE FUNCTION obol.merge_limits(p_license_id uuid, p_limits jsonb, p_change jsonb)
RETURNS jsonb
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_name text;
    v_value jsonb;
    v_most numeric;
    v_is_good boolean;
BEGIN
    FOR v_name, v_value IN SELECT c.key, c.value FROM jsonb_each(COALESCE(p_change, '{}')) c LOOP
        v_most := CASE v_name WHEN 'requests_per_minute' THEN 1000000
                              WHEN 'concurrent_holds' THEN 1000000
                              WHEN 'credits_per_day' THEN 9223372036854775807
                              WHEN 'credits_per_month' THEN 9223372036854775807 END;
        v_is_good := CASE
            WHEN jsonb_typeof(v_value) = 'null' THEN v_most IS NOT NULL OR v_name = 'models'
            WHEN v_name = 'models' THEN
                jsonb_typeof(v_value) = 'array' AND jsonb_array_length(v_value) BETWEEN 1 AND 100
                AND NOT jsonb_path_exists(v_value, '$[*] ? (@.type() <> "string" || @ == "" || @ like_regex "[*].")')
            WHEN jsonb_typeof(v_value) = 'number' THEN
                (v_value #>> '{}')::numeric BETWEEN 1 AND v_most AND (v_value #>> '{}') ~ '^[0-9]+$'
            END;
        IF v_is_good IS NOT TRUE THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the limit % cannot be %', v_name, v_value
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'limits.' || v_name),
                      HINT = 'Limits are whole numbers from 1 on, and models a list of names, or beginnings that end with a *.';
        END IF;
    END LOOP;
    RETURN NULLIF(jsonb_strip_nulls(COALESCE(p_limits, '{}') || COALESCE(p_change, '{}')), '{}');
END
$$;

REVOKE ALL ON FUNCTION obol.merge_limits(uuid, jsonb, jsonb) FROM PUBLIC;
