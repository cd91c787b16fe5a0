-- Raises INVALID_AMOUNT when p_amount more credits would let the balance pass the largest bigint, now
-- or when everything that is scheduled has started: a start is nobody's call, and must not fail.
CREATE OR REPLACE FUNCTION obol.check_room(p_license_id uuid, p_amount bigint)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_most constant bigint := 9223372036854775807;
BEGIN
    PERFORM FROM obol.grants g
      WHERE g.license_id = p_license_id AND g.credits_left > 0
     HAVING sum(g.credits_left) > c_most - p_amount;
    IF FOUND THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the balance would pass % credits', c_most USING ERRCODE = 'OB400';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.check_room(uuid, bigint) FROM PUBLIC;
