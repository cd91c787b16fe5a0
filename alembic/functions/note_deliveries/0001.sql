-- Notes that the ends of these answers were written to their clients. What is settled, keyless
-- and never noted is listed by the view obol.undelivered_holds.
CREATE OR REPLACE FUNCTION obol.note_deliveries(p_license_ids uuid[], p_hold_ids uuid[])
RETURNS void
LANGUAGE sql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
    UPDATE obol.holds h
       SET delivered_at = clock_timestamp()
      FROM (SELECT * FROM unnest(p_license_ids, p_hold_ids) AS u (license_id, hold_id)
             ORDER BY license_id, hold_id) d
     WHERE h.license_id = d.license_id AND h.hold_id = d.hold_id AND h.delivered_at IS NULL
       AND h.state = 'settled'
$$;

REVOKE ALL ON FUNCTION obol.note_deliveries(uuid[], uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_deliveries(uuid[], uuid[]) TO obol_service;
