-- Changes when and whom a license tells of its balance. p_alerts is {"credits": […], "percent": […]} in place of what
-- there was, a jsonb null for none, and null for no change; p_email an address, '' for none, and null for no change. A
-- threshold that the balance is under already is told when it is crossed the next time.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), INVALID_AMOUNT (a threshold that is none).
CREATE OR REPLACE FUNCTION obol.set_alerts(
    p_license_id uuid,
    p_alerts jsonb,
    p_email text,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (alerts jsonb, email text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_alerts jsonb;
    v_email text;
    v_base bigint;
    v_next bigint;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    IF p_alerts <> 'null' AND (
        jsonb_typeof(p_alerts) <> 'object'
        OR jsonb_path_exists(p_alerts, '$.keyvalue() ? (@.key <> "credits" && @.key <> "percent")', '{}', true)
        OR jsonb_path_exists(p_alerts, 'strict $.* ? (@.type() <> "array")', '{}', true)
        OR jsonb_path_exists(p_alerts, '$.*.size() ? (@ > 10)')
        OR jsonb_path_exists(p_alerts, '$.*[*] ? (@.type() <> "number" || @ < 1 || @.floor() <> @)')
        OR jsonb_path_exists(p_alerts, '$.credits[*] ? (@ > 9223372036854775807)')
        OR jsonb_path_exists(p_alerts, '$.percent[*] ? (@ > 99)')
    ) THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the thresholds cannot be %', p_alerts
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'alerts'),
                  HINT = 'Name ten whole numbers of credits from 1 on, and ten of percent from 1 to 99, at most.';
    END IF;
    SELECT l.alerts, l.email, l.alert_base, l.balance, l.notify_below INTO v_before
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    v_alerts := CASE WHEN p_alerts IS NULL THEN v_before.alerts ELSE NULLIF(p_alerts, 'null') END;
    v_email := CASE WHEN p_email IS NULL THEN v_before.email ELSE NULLIF(p_email, '') END;
    -- Where no top-up was noted, the balance of now is what there is to take percents of.
    v_base := GREATEST(v_before.alert_base, v_before.balance);
    v_next := CASE WHEN v_alerts IS NOT DISTINCT FROM v_before.alerts THEN v_before.notify_below
                   WHEN v_before.balance = 0 THEN v_before.notify_below
                   ELSE obol.next_threshold(v_alerts, v_base, v_before.balance) END;
    IF v_alerts IS DISTINCT FROM v_before.alerts OR v_email IS DISTINCT FROM v_before.email THEN
        UPDATE obol.licenses l
           SET alerts = v_alerts, email = v_email, alert_base = v_base, notify_below = v_next
         WHERE l.license_id = p_license_id;
        PERFORM obol.note_act(p_license_id, v_actor, 'set_alerts', NULL, jsonb_build_object(
            'before', jsonb_build_object('alerts', v_before.alerts, 'email', v_before.email),
            'after', jsonb_build_object('alerts', v_alerts, 'email', v_email)), p_request_id);
    END IF;
    RETURN QUERY SELECT v_alerts, v_email;
END
$$;

REVOKE ALL ON FUNCTION obol.set_alerts(uuid, jsonb, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_alerts(uuid, jsonb, text, bytea, text) TO obol_service;
