-- How many good keys of its own making whoever holds a license may have at once: p_most, or null to leave it; 0: none.
-- Keys that are there stay. Errors, in order: ADMIN_FORBIDDEN (read will do where it is left), INVALID_LICENSE (no such
-- license), INVALID_AMOUNT.
CREATE OR REPLACE FUNCTION obol.set_own_keys(p_license_id uuid, p_most integer, p_token_digest bytea, p_request_id text)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    -- Whoever changes a license is told what it is then, without the right to read.
    v_actor text := obol.check_token(p_token_digest, CASE
        WHEN p_most IS NOT NULL OR EXISTS (SELECT FROM obol.admin_tokens t
                                            WHERE t.token_digest = p_token_digest AND 'manage' = ANY (t.scopes))
        THEN 'manage' ELSE 'read' END);
    v_before integer;
BEGIN
    IF p_most IS NOT NULL THEN
        PERFORM obol.lock_license(p_license_id);
        IF p_most NOT BETWEEN 0 AND 100 THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: own_keys cannot be %', p_most
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'own_keys'),
                      HINT = 'Name a whole number from 0 to 100.';
        END IF;
    END IF;
    SELECT l.most_own_keys INTO v_before FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    IF p_most <> v_before THEN
        UPDATE obol.licenses l SET most_own_keys = p_most WHERE l.license_id = p_license_id;
        PERFORM obol.note_act(p_license_id, v_actor, 'set_own_keys', NULL, jsonb_build_object(
            'before', v_before, 'after', p_most), p_request_id);
    END IF;
    RETURN COALESCE(p_most, v_before);
END
$$;

REVOKE ALL ON FUNCTION obol.set_own_keys(uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_own_keys(uuid, integer, bytea, text) TO obol_service;
