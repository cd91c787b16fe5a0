-- Renames a license, renews it or lets it end, suspends or resumes it: null leaves the name, the expiry or the
-- status as it is, and 'infinity' is no expiry. p_limits has those limits that change, null in it takes one away. The same again changes nothing, and is no act. A time that is
-- past has to be allowed, so that nobody is cut off by a slip. Holds that are open stay open: calls that run
-- are finished and paid for all the same. Returns the license.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), INVALID_AMOUNT (the time is past,
-- or a limit is none).
CREATE OR REPLACE FUNCTION obol.set_license_v2(
    p_license_id uuid,
    p_name text,
    p_expires_at timestamptz,
    p_allow_past boolean,
    p_status text,
    p_limits jsonb,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
                 available bigint, external_id text, created_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_after record;
    v_limits jsonb;
BEGIN
    SELECT l.name, l.expires_at, l.status, l.limits INTO v_before
      FROM obol.licenses l WHERE l.license_id = p_license_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    IF NOT p_allow_past AND p_expires_at <= clock_timestamp() AND p_expires_at IS DISTINCT FROM v_before.expires_at THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or allow a past one: allow_past, or --allow-past.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before.limits, p_limits);
    UPDATE obol.licenses l
       SET name = COALESCE(p_name, l.name),
           expires_at = NULLIF(COALESCE(p_expires_at, l.expires_at), 'infinity'),
           status = COALESCE(p_status, l.status),
           limits = v_limits
     WHERE l.license_id = p_license_id
    RETURNING l.name, l.expires_at, l.status, l.limits INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'set_license', NULL, jsonb_build_object(
            'before', jsonb_build_object(
                'name', v_before.name, 'expires_at', v_before.expires_at, 'status', v_before.status, 'limits', v_before.limits),
            'after', jsonb_build_object(
                'name', v_after.name, 'expires_at', v_after.expires_at, 'status', v_after.status, 'limits', v_after.limits)), p_request_id);
    END IF;
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.set_license_v2(uuid, text, timestamptz, boolean, text, jsonb, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_license_v2(uuid, text, timestamptz, boolean, text, jsonb, bytea, text) TO obol_service;
