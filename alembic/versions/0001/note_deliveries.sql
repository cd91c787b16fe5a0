-- Notes that the ends of these answers of one license were written to their client. What is
-- settled, not stored for a retry and never noted is listed by the view obol.undelivered_holds.
CREATE OR REPLACE FUNCTION obol.note_deliveries(p_license_id uuid, p_hold_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.holds h
       SET delivered_at = v_now
     WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids)
       AND h.delivered_at IS NULL AND h.state = 'settled';
END
$$;

REVOKE ALL ON FUNCTION obol.note_deliveries(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_deliveries(uuid, uuid[]) TO obol_service;
