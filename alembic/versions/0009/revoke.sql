-- As in 0001 to 0003: what the host's default privileges gave to the roles of its public API is taken back. Of
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
    REVOKE ALL ON TABLE obol.events, obol.webhooks, obol.deliveries, obol.delivery_queues FROM service_role;
    FOR v_object IN
        SELECT p.oid::regprocedure FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'obol'::regnamespace
           AND p.proname IN (
                     'arm_alerts',
                     'claim_delivery',
                     'count_waiting',
                     'create_webhook',
                     'delete_webhook',
                     'due_deliveries',
                     'due_expiring',
                     'due_undelivered',
                     'end_delivery',
                     'list_events',
                     'list_thresholds',
                     'list_webhooks',
                     'next_threshold',
                     'note_balance',
                     'note_webhook',
                     'pause_webhook',
                     'purge_events',
                     'queue_delivery',
                     'replay_events',
                     'rotate_webhook',
                     'set_alerts',
                     'show_alerts',
                     'tell_expiring',
                     'tell_undelivered',
                     'tell_upstream_refusal',
                     'utc',
                     'verify_events',
                     'write_event')
    LOOP
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM service_role', v_object);
    END LOOP;
END
$$;
