-- STUB of development: 0002 has the real one.
CREATE OR REPLACE FUNCTION obol.note_act(
    p_license_id uuid, p_actor text, p_act text, p_target text, p_detail jsonb, p_request_id text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NULL;
END
$$;

REVOKE ALL ON FUNCTION obol.note_act(uuid, text, text, text, jsonb, text) FROM PUBLIC;
