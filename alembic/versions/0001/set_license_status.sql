-- Suspends ('suspended') or resumes ('active') a license, for the next admission on. Holds
-- that are open stay open: a service already given is paid for.
-- Errors: INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.set_license_status(p_license_id uuid, p_status text)
RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    UPDATE obol.licenses l SET status = p_status WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.set_license_status(uuid, text) FROM PUBLIC;
