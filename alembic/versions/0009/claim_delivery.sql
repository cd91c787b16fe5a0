-- Takes the first event of a license that waits for a webhook, to deliver it within p_lease_s; nobody else gets it, or a
-- later one, before end_delivery or the end of that time. No row: there is none, or somebody else has it. Secrets are
-- sealed; old_secret is null once it has ended. email is the license's address, for the webhook that is the e-mail.
CREATE OR REPLACE FUNCTION obol.claim_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_lease_s integer)
RETURNS TABLE (event_id uuid, type text, data jsonb, created_at timestamptz, kind text, url text, secret bytea,
               old_secret bytea, email text, is_failing boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_webhook obol.webhooks;
    v_event_no bigint;
BEGIN
    SELECT w.* INTO v_webhook FROM obol.webhooks w
     WHERE w.webhook_id = p_webhook_id AND w.paused_at IS NULL AND w.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM obol.delivery_queues q
      WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id
       -- Or it is asked again, because the first reply was lost.
       AND (q.next_attempt_at <= v_now OR q.claim_id = p_claim_id)
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A mail that comes days late misleads, and where no mail is sent the events of months wait.
    UPDATE obol.deliveries d
       SET state = 'failed', last_error = 'too old for a mail'
      FROM obol.events e
     WHERE v_webhook.kind = 'email'
       AND d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting'
       AND e.license_id = p_license_id AND e.event_no = d.event_no AND e.created_at < v_now - interval '3 days';
    SELECT min(d.event_no) INTO v_event_no FROM obol.deliveries d
     WHERE d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting';
    UPDATE obol.delivery_queues q
       SET claim_id = CASE WHEN v_event_no IS NOT NULL THEN p_claim_id END, event_no = v_event_no,
           next_attempt_at = CASE WHEN v_event_no IS NOT NULL
                                  THEN v_now + make_interval(secs => LEAST(GREATEST(p_lease_s, 1), 600)) END
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id;
    -- Here and not when it ends: one whose process dies of it has been tried all the same.
    UPDATE obol.deliveries d
       SET attempts = d.attempts + 1, first_attempt_at = COALESCE(d.first_attempt_at, v_now), last_attempt_at = v_now
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    RETURN QUERY
        SELECT e.event_id, e.type, e.data, e.created_at, v_webhook.kind, v_webhook.url, v_webhook.secret,
               CASE WHEN v_webhook.old_secret_until > v_now THEN v_webhook.old_secret END,
               (SELECT l.email FROM obol.licenses l WHERE l.license_id = p_license_id AND v_webhook.kind = 'email'),
               v_webhook.failing_since IS NOT NULL
          FROM obol.events e WHERE e.license_id = p_license_id AND e.event_no = v_event_no;
END
$$;

REVOKE ALL ON FUNCTION obol.claim_delivery(uuid, uuid, uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.claim_delivery(uuid, uuid, uuid, integer) TO obol_service;
