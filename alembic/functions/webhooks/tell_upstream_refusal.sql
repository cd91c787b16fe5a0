-- Tells that the upstream refuses the operator's account, with the status that it said; once an hour, as every call is
-- refused meanwhile. Returns whether it did.
CREATE OR REPLACE FUNCTION obol.tell_upstream_refusal(p_status integer)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM obol.events e
      WHERE e.license_id = c_nobody AND e.type = 'upstream.refuses_us' AND e.created_at > v_now - interval '1 hour';
    IF FOUND THEN
        RETURN false;
    END IF;
    -- Two processes that find this out at once take the same number: one asks again, and sees the other's.
    PERFORM obol.write_event(c_nobody, 'upstream.refuses_us', NULL, jsonb_build_object('status', p_status));
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION obol.tell_upstream_refusal(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.tell_upstream_refusal(integer) TO obol_service;
