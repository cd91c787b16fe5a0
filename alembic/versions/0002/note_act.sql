-- Adds an act to the audit trail, in the transaction that does it: called once it is done, and not for the
-- replay of one. p_target is what it was done to, beside the license; p_detail never has a key or a token.
CREATE OR REPLACE FUNCTION obol.note_act(
    p_license_id uuid,
    p_actor text,
    p_act text,
    p_target text,
    p_detail jsonb,
    p_request_id text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail, request_id)
    VALUES (clock_timestamp(), p_actor, p_act, p_license_id, p_target, p_detail, p_request_id);
END
$$;

REVOKE ALL ON FUNCTION obol.note_act(uuid, text, text, text, jsonb, text) FROM PUBLIC;
