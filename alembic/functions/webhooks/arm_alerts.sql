-- After a top-up: what the balance has risen above is to be told again when it falls. A license without thresholds that
-- has told nothing is left as it is.
CREATE OR REPLACE FUNCTION obol.arm_alerts(p_license_id uuid, p_balance bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_alerts jsonb;
    v_next bigint;
BEGIN
    SELECT l.alerts INTO v_alerts FROM obol.licenses l
     WHERE l.license_id = p_license_id AND (l.alerts IS NOT NULL OR l.notify_below < 0);
    IF FOUND THEN
        v_next := obol.next_threshold(v_alerts, p_balance, p_balance);
        UPDATE obol.licenses l SET alert_base = p_balance, notify_below = v_next WHERE l.license_id = p_license_id;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.arm_alerts(uuid, bigint) FROM PUBLIC;
