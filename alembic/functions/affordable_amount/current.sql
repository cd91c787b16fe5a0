-- After a guarded write found the license unable to give p_amount: what it can give instead,
-- at least p_min_amount. Raises INSUFFICIENT_CREDITS below that; and 40001 when there is
-- enough after all, because then another call moved the row between the two statements and
-- the caller asks again with the same id.
CREATE OR REPLACE FUNCTION obol.affordable_amount(
    p_license_id uuid,
    p_min_amount bigint,
    p_amount bigint
) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_available bigint;
BEGIN
    SELECT l.balance - l.held INTO v_available
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF v_available < p_min_amount THEN
        RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are needed and % are available',
                p_min_amount, v_available
            USING ERRCODE = 'OB402',
                  DETAIL = json_build_object('required', p_min_amount, 'available', v_available),
                  HINT = 'Have credits granted, or ask for less.';
    END IF;
    IF v_available >= p_amount THEN
        RAISE EXCEPTION 'the license changed meanwhile: ask again with the same id'
            USING ERRCODE = '40001';
    END IF;
    RETURN v_available;
END
$$;

REVOKE ALL ON FUNCTION obol.affordable_amount(uuid, bigint, bigint) FROM PUBLIC;
