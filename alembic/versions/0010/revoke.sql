-- As in 0001 to 0005: what the host's default privileges gave to the roles of its public API is taken back. Of
-- service_role's only what this migration made: an operator may have granted it something before.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION obol.deduct_batch(uuid[], uuid[], bigint[], text[], bytea[], text[], bytea, text) FROM %I', v_role);
    END LOOP;
END
$$;
