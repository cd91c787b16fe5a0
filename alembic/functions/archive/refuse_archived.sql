-- Raises that what is looked for by p_cause_id is not in the tables, where it may be in the archive: HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.refuse_archived(p_license_id uuid, p_cause_id uuid)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_archived obol.archived;
BEGIN
    SELECT a.* INTO v_archived FROM obol.archived a WHERE a.license_id = p_license_id;
    IF FOUND THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge or deduction % after entry %', p_license_id, p_cause_id,
                v_archived.last_entry_no
            USING ERRCODE = 'OB404',
                  HINT = format('Entries up to that one, of %s and before, are in the archive: they can be read there, and '
                                'are not refunded any more. An adjustment corrects a balance.',
                                to_char(v_archived.last_entry_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'));
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refuse_archived(uuid, uuid) FROM PUBLIC;
