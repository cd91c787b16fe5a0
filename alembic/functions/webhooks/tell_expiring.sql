-- Tells of the grants of a license that are about to expire with credits left, each once; due_expiring says when that is.
-- Returns how many it told of. Errors: INVALID_LICENSE (no such license); 40001: ask again.
CREATE OR REPLACE FUNCTION obol.tell_expiring(p_license_id uuid)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz;
    v_grant record;
    v_count integer := 0;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    -- Only then is credits_left what is left.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    FOR v_grant IN
        UPDATE obol.grants g
           SET expiry_told_at = v_now
         WHERE g.license_id = p_license_id
           AND g.credits_left > 0 AND g.expires_at IS NOT NULL AND g.voided_at IS NULL AND g.expiry_told_at IS NULL
           AND g.expires_at > v_now AND g.expires_at <= v_now + interval '7 days'
           AND g.starts_at + (g.expires_at - g.starts_at) * 0.75 <= v_now
        RETURNING g.grant_id, g.amount, g.credits_left, g.expires_at, g.reason, g.reference
    LOOP
        PERFORM obol.write_event(p_license_id, 'grant.expiring', v_grant.grant_id, jsonb_build_object(
            'grant_id', v_grant.grant_id, 'amount', v_grant.amount, 'left', v_grant.credits_left,
            'expires_at', obol.utc(v_grant.expires_at), 'reason', v_grant.reason, 'reference', v_grant.reference));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.tell_expiring(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.tell_expiring(uuid) TO obol_service;
