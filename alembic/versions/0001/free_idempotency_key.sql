-- Frees the idempotency key of a process's hold that ended without a charge, so that a retry
-- may open another. The row goes on naming the hold: that is what lets a late settle of it,
-- and no other, claim the key back (book_charge). A client's hold keeps its key, because
-- opening it was the whole call and was answered.
CREATE OR REPLACE FUNCTION obol.free_idempotency_key(p_hold obol.holds)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_hold.process_id IS NOT NULL AND p_hold.idempotency_key IS NOT NULL THEN
        UPDATE obol.idempotency_keys i
           SET in_force = false
         WHERE i.license_id = p_hold.license_id AND i.scope = 'license'
           AND i.idempotency_key = p_hold.idempotency_key AND i.cause_id = p_hold.hold_id;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.free_idempotency_key(obol.holds) FROM PUBLIC;
