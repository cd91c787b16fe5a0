-- The row of an idempotency key that is in force, or a row of nulls. Raises
-- IDEMPOTENCY_KEY_REUSED when the key stands for another payload.
CREATE OR REPLACE FUNCTION obol.find_idempotency_key(
    p_license_id uuid,
    p_scope text,
    p_idempotency_key text,
    p_fingerprint bytea
) RETURNS obol.idempotency_keys
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_key obol.idempotency_keys;
BEGIN
    SELECT i.* INTO v_key FROM obol.idempotency_keys i
     WHERE i.license_id = p_license_id AND i.scope = p_scope
       AND i.idempotency_key = p_idempotency_key AND i.in_force;
    IF v_key.fingerprint <> p_fingerprint THEN
        RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key was used with another payload'
            USING ERRCODE = 'OB422', HINT = 'Use a new key for a new request.';
    END IF;
    RETURN v_key;
END
$$;

REVOKE ALL ON FUNCTION obol.find_idempotency_key(uuid, text, text, bytea) FROM PUBLIC;
