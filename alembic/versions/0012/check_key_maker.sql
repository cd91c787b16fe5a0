-- Raises unless a key may make keys, and change those that were made so; returns its id and its end. The operator has to
-- have allowed it for the license (set_own_keys), and have made the key, without limits and without an end: what a key
-- makes would not keep to its maker's, and a key that ends or is limited is for somebody who may do less.
-- p_is_change: for what changes something the license has to be active too.
-- Errors, in order: INVALID_LICENSE, INACTIVE_LICENSE, EXPIRED_LICENSE, KEYS_NOT_ALLOWED.
CREATE OR REPLACE FUNCTION obol.check_key_maker(p_license_id uuid, p_key_digest bytea, p_is_change boolean)
RETURNS uuid
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key obol.license_keys;
    v_most integer;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    IF p_is_change THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    SELECT l.most_own_keys INTO v_most FROM obol.licenses l WHERE l.license_id = p_license_id;
    SELECT k.* INTO v_key FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    IF v_most = 0 THEN
        RAISE EXCEPTION 'KEYS_NOT_ALLOWED: this license may not make keys' USING ERRCODE = 'OB453',
            HINT = 'Ask the operator for a key, or to allow it.';
    END IF;
    IF v_key.made_by IS NOT NULL OR v_key.limits IS NOT NULL OR v_key.expires_at IS NOT NULL THEN
        RAISE EXCEPTION 'KEYS_NOT_ALLOWED: this key may not make keys' USING ERRCODE = 'OB453',
            HINT = 'Use a key that the operator made, without limits and without an end.';
    END IF;
    RETURN v_key.key_id;
END
$$;

REVOKE ALL ON FUNCTION obol.check_key_maker(uuid, bytea, boolean) FROM PUBLIC;
