-- Whether this very transaction has booked an entry: tells an act from the replay of one, also when the same
-- id is asked again after a lost reply.
CREATE OR REPLACE FUNCTION obol.is_booked_now(p_license_id uuid, p_kind text, p_cause_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM obol.ledger_entries e
                    WHERE e.license_id = p_license_id AND e.kind = p_kind AND e.cause_id = p_cause_id
                      AND e.xmin = pg_current_xact_id_if_assigned()::xid);
END
$$;

REVOKE ALL ON FUNCTION obol.is_booked_now(uuid, text, uuid) FROM PUBLIC;
