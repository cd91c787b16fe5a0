-- Frees the idempotency key of a process's hold that ended without a charge, so that a retry
-- may open another. The row goes on naming the hold: that is what lets a late settle of it,
-- and no other, claim the key back (book_charge). A client's hold keeps its key, because
-- opening it was the whole call and was answered.
CREATE OR REPLACE FUNCTION obol.free_key(p_hold obol.holds)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE obol.idempotency_keys i
       SET in_force = false
     WHERE p_hold.process_id IS NOT NULL
       AND i.license_id = p_hold.license_id AND i.scope = 'license'
       AND i.idempotency_key = p_hold.idempotency_key AND i.cause_id = p_hold.hold_id
$$;

REVOKE ALL ON FUNCTION obol.free_key(obol.holds) FROM PUBLIC;
