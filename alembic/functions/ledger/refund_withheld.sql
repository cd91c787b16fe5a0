-- The refund that the service itself may make: of the charge for an answer that a process of
-- its own withheld. No row when there was nothing to give back.
CREATE OR REPLACE FUNCTION obol.refund_withheld(p_license_id uuid, p_hold_id uuid, p_process_id uuid)
RETURNS TABLE (amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM FROM obol.holds h
      WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id
        AND h.process_id = p_process_id AND h.delivered_at IS NULL;
    IF FOUND THEN
        RETURN QUERY SELECT r.amount, r.balance
                       FROM obol.refund(p_license_id, p_hold_id, 'answer withheld', true) r;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refund_withheld(uuid, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.refund_withheld(uuid, uuid, uuid) TO obol_service;
