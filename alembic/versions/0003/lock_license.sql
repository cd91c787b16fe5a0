-- Takes the lock on the row of a license, for an act of an operator that then looks before it changes
-- anything. A write, as everywhere: it is the only lock that held while a sharded database moved shards.
-- Errors: INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.lock_license(p_license_id uuid)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE obol.licenses l SET entry_count = l.entry_count WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.lock_license(uuid) FROM PUBLIC;
