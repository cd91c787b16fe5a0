-- What became of an attempt that claim_delivery gave out: the event is delivered, or waits for the next attempt, or is
-- given up (failed): three days after the first attempt, or at once where p_is_final. Attempts come after 5 s, and then
-- each after four times as long, up to eight hours, a fifth more or less. p_retry_after_s: not before. Returns the state,
-- and null when the claim had lapsed and somebody else has the event by now.
CREATE OR REPLACE FUNCTION obol.end_delivery(
    p_license_id uuid,
    p_webhook_id uuid,
    p_claim_id uuid,
    p_is_delivered boolean,
    p_status integer,
    p_error text,
    p_retry_after_s integer,
    p_is_final boolean
) RETURNS text
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_longest_s constant integer := 28800;
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_error, 300);
    v_event_no bigint;
    v_delivery obol.deliveries;
    v_state text;
    v_delay_s double precision;
    v_next timestamptz;
BEGIN
    SELECT q.event_no INTO v_event_no FROM obol.delivery_queues q
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id AND q.claim_id = p_claim_id
       FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT d.* INTO v_delivery FROM obol.deliveries d
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    v_state := CASE WHEN p_is_delivered THEN 'delivered'
                    WHEN p_is_final OR v_delivery.first_attempt_at <= v_now - interval '3 days' THEN 'failed'
                    ELSE 'waiting' END;
    UPDATE obol.deliveries d
       SET state = v_state, last_status = p_status, last_error = v_error
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    IF v_state = 'waiting' THEN
        v_delay_s := LEAST(5 * power(4, LEAST(v_delivery.attempts, 20) - 1), c_longest_s) * (0.8 + 0.4 * random());
        -- The last one is when the three days are over.
        v_next := LEAST(v_now + make_interval(secs => GREATEST(v_delay_s, LEAST(COALESCE(p_retry_after_s, 0), c_longest_s))),
                        GREATEST(v_delivery.first_attempt_at + interval '3 days', v_now));
    ELSE
        SELECT v_now INTO v_next FROM obol.deliveries d
         WHERE d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting' LIMIT 1;
    END IF;
    UPDATE obol.delivery_queues q
       SET claim_id = NULL, event_no = NULL, next_attempt_at = v_next
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id;
    RETURN v_state;
END
$$;

REVOKE ALL ON FUNCTION obol.end_delivery(uuid, uuid, uuid, boolean, integer, text, integer, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.end_delivery(uuid, uuid, uuid, boolean, integer, text, integer, boolean) TO obol_service;
