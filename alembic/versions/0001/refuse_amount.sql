-- Raises INVALID_AMOUNT for a number of credits that is missing or below p_least.
CREATE OR REPLACE FUNCTION obol.refuse_amount(p_name text, p_least integer)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION 'INVALID_AMOUNT: % must be a whole number of credits, at least %', p_name, p_least
        USING ERRCODE = 'OB400';
END
$$;

REVOKE ALL ON FUNCTION obol.refuse_amount(text, integer) FROM PUBLIC;
