-- Ends a grant now: takes what it has left and no hold covers, and the rest when those holds have
-- ended. The same again changes nothing. The grant as it is then.
-- Errors, in order: ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license), GRANT_NOT_FOUND,
-- GRANT_ENDED (it is used up or has expired); 40001 means ask again.
CREATE OR REPLACE FUNCTION obol.void_grant(
    p_license_id uuid,
    p_grant_id uuid,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint,
                 starts_at timestamptz, expires_at timestamptz, state text, reason text, reference text,
                 created_at timestamptz, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_now timestamptz;
    v_state text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT d.state INTO v_state FROM obol.describe_grants(p_license_id) d WHERE d.grant_id = p_grant_id;
    IF v_state IS NULL THEN
        RAISE EXCEPTION 'GRANT_NOT_FOUND: this license has no grant %', p_grant_id USING ERRCODE = 'OB414';
    ELSIF v_state IN ('used_up', 'expired') THEN
        RAISE EXCEPTION 'GRANT_ENDED: the grant is %', v_state
            USING ERRCODE = 'OB415', HINT = 'There is nothing left of it to take. An adjustment corrects a balance.';
    ELSIF v_state <> 'voided' THEN
        UPDATE obol.grants g
           SET voided_at = v_now,
               credits_left = CASE WHEN g.has_started THEN g.credits_left ELSE 0 END,
               lapsed = CASE WHEN g.has_started THEN g.lapsed ELSE g.amount END
         WHERE g.license_id = p_license_id AND g.grant_id = p_grant_id;
        PERFORM obol.bring_up_to_date(p_license_id, true);
        PERFORM obol.note_act(p_license_id, v_actor, 'void_grant', p_grant_id::text, NULL, p_request_id);
    END IF;
    RETURN QUERY SELECT d.*, l.balance
                   FROM obol.describe_grants(p_license_id) d
                   JOIN obol.licenses l ON l.license_id = p_license_id
                  WHERE d.grant_id = p_grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.void_grant(uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.void_grant(uuid, uuid, bytea, text) TO obol_service;
