-- As in 0001: what the host's default privileges gave to the roles of its public API is taken back. Of
-- service_role's only what this migration made: an operator may have granted it something before.
DO $$
DECLARE
    v_role text;
    v_object text;
BEGIN
    FOR v_role IN
        SELECT r.rolname FROM pg_catalog.pg_roles r WHERE r.rolname IN ('anon', 'authenticated')
    LOOP
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA obol FROM %I', v_role);
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA obol FROM %I', v_role);
        EXECUTE format('REVOKE ALL ON ALL SEQUENCES IN SCHEMA obol FROM %I', v_role);
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'service_role') THEN
        RETURN;
    END IF;
    REVOKE ALL ON TABLE obol.admin_tokens, obol.admin_acts, obol.external_ids FROM service_role;
    REVOKE ALL ON SEQUENCE obol.admin_acts_act_no_seq FROM service_role;
    FOR v_object IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'obol'::regnamespace
           AND p.proname IN (
                     'check_token',
                     'note_act',
                     'register_first_token',
                     'create_token',
                     'list_tokens',
                     'revoke_token',
                     'list_acts',
                     'overview',
                     'create_license_v2',
                     'set_license_v2',
                     'rotate_license_key_v2',
                     'list_licenses',
                     'show_license',
                     'is_booked_now',
                     'deduct_v2',
                     'verify_v2',
                     'set_prices_v2',
                     'list_holds')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM service_role', v_object);
    END LOOP;
END
$$;
