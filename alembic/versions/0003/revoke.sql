-- As in 0001 and 0002: what the host's default privileges gave to the roles of its public API is taken back. Of
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
    REVOKE ALL ON TABLE obol.grants, obol.allotments FROM service_role;
    FOR v_object IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'obol'::regnamespace
           AND p.proname IN (
                     'lock_license',
                     'check_room',
                     'list_open_grants',
                     'list_draws',
                     'describe_grants',
                     'book_part',
                     'bring_up_to_date',
                     'due_changes',
                     'list_grants',
                     'list_grants_of',
                     'void_grant',
                     'verify_grants',
                     'refundable',
                     'give_back',
                     'adjust_credits_v2',
                     'grant_credits_v2',
                     'refund_v2')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM service_role', v_object);
    END LOOP;
END
$$;
