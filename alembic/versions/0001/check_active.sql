-- Raises INACTIVE_LICENSE or EXPIRED_LICENSE, in this order, when one of them is so.
CREATE OR REPLACE FUNCTION obol.check_active(p_license_id uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_license obol.licenses;
BEGIN
    SELECT l.* INTO v_license FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF v_license.status <> 'active' THEN
        RAISE EXCEPTION 'INACTIVE_LICENSE: the license is %', v_license.status
            USING ERRCODE = 'OB413', HINT = 'Ask the operator to resume the license.';
    END IF;
    IF v_license.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'EXPIRED_LICENSE: the license expired at %', v_license.expires_at
            USING ERRCODE = 'OB423', HINT = 'Ask the operator for a new expiry or a new license.';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.check_active(uuid) FROM PUBLIC;
