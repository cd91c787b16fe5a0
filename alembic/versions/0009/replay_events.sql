-- Has an event delivered to a webhook once more, whatever became of it before and whether or not it was meant for it;
-- null: all events that were given up. Returns how many that are, and null when there is no such webhook.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.replay_events(
    p_webhook_id uuid,
    p_event_id uuid,
    p_token_digest bytea,
    p_request_id text
) RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_event record;
    v_count integer := 0;
BEGIN
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR v_event IN
        SELECT e.license_id, e.event_no FROM obol.events e WHERE e.event_id = p_event_id
        UNION ALL
        SELECT d.license_id, d.event_no FROM obol.deliveries d
         WHERE p_event_id IS NULL AND d.webhook_id = p_webhook_id AND d.state = 'failed'
        ORDER BY 1, 2
    LOOP
        PERFORM obol.queue_delivery(v_event.license_id, v_event.event_no, p_webhook_id);
        v_count := v_count + 1;
    END LOOP;
    IF v_count > 0 THEN
        PERFORM obol.note_act(NULL, v_actor, 'replay_events', p_webhook_id::text, jsonb_build_object(
            'event_id', p_event_id, 'count', v_count), p_request_id);
    END IF;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.replay_events(uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.replay_events(uuid, uuid, bytea, text) TO obol_service;
