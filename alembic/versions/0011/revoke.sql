-- As in 0001 to 0007: what the host's default privileges gave to the roles of its public API is taken back. Of
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
    REVOKE ALL ON TABLE
        obol.packages,
        obol.payment_grants,
        obol.payment_sums,
        obol.payments,
        obol.stripe_events,
        obol.stripe_intents,
        obol.stripe_secrets
        FROM service_role;
    FOR v_object IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'obol'::regnamespace
           AND p.proname IN (
                     'book_stripe_event',
                     'disagreement_of',
                     'end_package',
                     'find_stripe_intent',
                     'give_for_payment',
                     'hmac_sha256',
                     'is_signed_by_stripe',
                     'list_all_payments',
                     'list_packages',
                     'list_payments',
                     'note_checkout',
                     'note_stripe_state',
                     'open_payment',
                     'set_package',
                     'set_stripe_secret',
                     'square_payment',
                     'verify_payments')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM service_role', v_object);
    END LOOP;
END
$$;
