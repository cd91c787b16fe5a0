-- Writes an event in the transaction of what it tells, for the webhooks that want it. The caller has locked the license;
-- all zeros: about none. Once a cause (null: each time). The data begins with license_id and external_id; what else a
-- type has is in docs/events.md. 40001: ask again.
CREATE OR REPLACE FUNCTION obol.write_event(p_license_id uuid, p_type text, p_cause_id uuid, p_data jsonb)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_event_no bigint;
    v_about jsonb := jsonb_build_object('license_id', NULLIF(p_license_id, c_nobody), 'external_id',
                                        (SELECT x.external_id FROM obol.external_ids x WHERE x.license_id = p_license_id));
    v_webhook_id uuid;
BEGIN
    PERFORM FROM obol.events e
      WHERE e.license_id = p_license_id AND e.type = p_type AND e.cause_id = p_cause_id;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO obol.events (license_id, event_no, event_id, type, cause_id, data, created_at)
    SELECT p_license_id, COALESCE(max(e.event_no), 0) + 1, gen_random_uuid(), p_type, p_cause_id, v_about || p_data,
           clock_timestamp()
      FROM obol.events e WHERE e.license_id = p_license_id
    ON CONFLICT DO NOTHING
    RETURNING event_no INTO v_event_no;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('an event was written');
    END IF;
    -- In one order, as two transactions may write for the same ones.
    FOR v_webhook_id IN
        SELECT w.webhook_id FROM obol.webhooks w
         WHERE w.deleted_at IS NULL AND (w.types IS NULL OR p_type = ANY (w.types))
           AND (w.kind = 'http' OR EXISTS (SELECT FROM obol.licenses l
                                            WHERE l.license_id = p_license_id AND l.email IS NOT NULL))
         ORDER BY w.webhook_id
    LOOP
        PERFORM obol.queue_delivery(p_license_id, v_event_no, v_webhook_id);
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.write_event(uuid, text, uuid, jsonb) FROM PUBLIC;
