-- The hold, for a caller whose key is good now or was good when the hold was opened. A hold of
-- another owner (p_process_id: the process that opened it, null for a client's) does not exist
-- for the caller, so no client can end the hold of a generation in flight.
CREATE OR REPLACE FUNCTION obol.find_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid
) RETURNS obol.holds
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_hold obol.holds;
BEGIN
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id
       AND h.process_id IS NOT DISTINCT FROM p_process_id;
    PERFORM obol.check_license_key(p_license_id, p_key_digest, v_hold.opened_at);
    IF v_hold.hold_id IS NULL THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: this license has no hold %', p_hold_id USING ERRCODE = 'OB404';
    END IF;
    RETURN v_hold;
END
$$;

REVOKE ALL ON FUNCTION obol.find_hold(uuid, bytea, uuid, uuid) FROM PUBLIC;
