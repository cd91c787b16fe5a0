-- Some hosts (Supabase) grant what is new to the roles that their public API runs as, by default
-- privileges: taken back here, where these roles exist. A later migration does so for anon and
-- authenticated only: what an operator has granted to service_role since is not ours to take.
DO $$
DECLARE
    v_role text;
BEGIN
    FOR v_role IN
        SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname IN ('anon', 'authenticated', 'service_role')
    LOOP
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA obol FROM %I', v_role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA obol FROM %I', v_role);
        EXECUTE format('REVOKE ALL ON SCHEMA obol FROM %I', v_role);
    END LOOP;
END
$$;
