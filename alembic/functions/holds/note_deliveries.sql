-- Notes that the ends of these answers of one license were written to their client, by the process
-- that opened their holds: nobody else can take a charge off the operator's list. What is settled,
-- not stored for a retry and never noted is on it, the view obol.undelivered_holds.
CREATE OR REPLACE FUNCTION obol.note_deliveries(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid)
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
     WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.process_id = p_process_id
       AND h.delivered_at IS NULL AND h.state = 'settled';
END
$$;

REVOKE ALL ON FUNCTION obol.note_deliveries(uuid, uuid[], uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_deliveries(uuid, uuid[], uuid) TO obol_service;
