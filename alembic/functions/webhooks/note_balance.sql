-- Tells that a balance has fallen to thresholds of its license, each of them once until there is a top-up. Called only
-- for a balance that is not above licenses.notify_below, with the license locked.
CREATE OR REPLACE FUNCTION obol.note_balance(p_license_id uuid, p_balance bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_license record;
    v_crossed record;
    v_next bigint;
BEGIN
    SELECT l.alerts, l.alert_base, l.notify_below INTO v_license
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    FOR v_crossed IN
        SELECT t.threshold, t.percent FROM obol.list_thresholds(v_license.alerts, v_license.alert_base) t
         WHERE t.threshold BETWEEN GREATEST(p_balance, 1) AND v_license.notify_below
         ORDER BY t.threshold DESC, t.percent
    LOOP
        PERFORM obol.write_event(p_license_id, 'license.low_balance', NULL, jsonb_build_object(
            'balance', p_balance, 'threshold', v_crossed.threshold, 'percent', v_crossed.percent));
    END LOOP;
    IF p_balance = 0 THEN
        PERFORM obol.write_event(p_license_id, 'license.exhausted', NULL, jsonb_build_object('balance', 0));
    END IF;
    v_next := obol.next_threshold(v_license.alerts, v_license.alert_base, p_balance);
    UPDATE obol.licenses l SET notify_below = v_next WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.note_balance(uuid, bigint) FROM PUBLIC;
