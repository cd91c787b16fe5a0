-- Tells of charges of a license whose answers have not reached their clients, each once. What was delivered, stored for
-- a retry or refunded meanwhile is passed over. Errors: INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.tell_undelivered(p_license_id uuid, p_hold_ids uuid[])
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_charge record;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    FOR v_charge IN
        SELECT u.hold_id, u.charge, u.model, u.settled_at FROM obol.undelivered_holds u
         WHERE u.license_id = p_license_id AND u.hold_id = ANY (p_hold_ids)
         ORDER BY u.settled_at, u.hold_id
    LOOP
        PERFORM obol.write_event(p_license_id, 'answer.undelivered', v_charge.hold_id, jsonb_build_object(
            'hold_id', v_charge.hold_id, 'charge', v_charge.charge, 'model', v_charge.model,
            'settled_at', obol.utc(v_charge.settled_at)));
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.tell_undelivered(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.tell_undelivered(uuid, uuid[]) TO obol_service;
