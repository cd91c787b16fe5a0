-- Gives credits with a lifetime: from p_starts_at (null: now) to p_expires_at (null: never), burnt
-- in the order of p_priority. Once per grant id, and once per idempotency key (the operator's own
-- scope, so that no client's key can stand in its way): the same again gives the grant as it is now.
-- Errors, in order: INVALID_AMOUNT, ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.grant_credits_v2(
    p_license_id uuid,
    p_grant_id uuid,
    p_amount bigint,
    p_priority integer,
    p_starts_at timestamptz,
    p_expires_at timestamptz,
    p_reason text,
    p_reference text,
    p_idempotency_key text,
    p_fingerprint bytea,
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
    v_actor text;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_grant_id uuid;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;
    v_actor := obol.check_token(p_token_digest, 'grant');

    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_grant_id := COALESCE(v_key.cause_id, p_grant_id);
    PERFORM FROM obol.grants g WHERE g.license_id = p_license_id AND g.grant_id = v_grant_id;
    IF NOT FOUND THEN
        -- What was used so far is of the grants that there were.
        PERFORM obol.bring_up_to_date(p_license_id, true);
        v_now := clock_timestamp();
        PERFORM obol.check_room(p_license_id, p_amount);
        IF p_expires_at <= GREATEST(p_starts_at, v_now) THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: a grant must expire later than now and than it starts' USING ERRCODE = 'OB400';
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_grant_id);
        END IF;
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, expires_at,
                                 has_started, reason, reference, created_at)
        VALUES (p_license_id, v_grant_id, p_amount, p_amount, p_priority, COALESCE(p_starts_at, v_now), p_expires_at,
                false, p_reason, p_reference, v_now);
        -- Starts it, if its time has come.
        PERFORM obol.bring_up_to_date(p_license_id, true);
        PERFORM obol.note_act(p_license_id, v_actor, 'grant_credits', v_grant_id::text,
                              jsonb_build_object('amount', p_amount, 'reason', p_reason), p_request_id);
        PERFORM obol.write_event(p_license_id, 'grant.created', v_grant_id, jsonb_build_object(
            'grant_id', v_grant_id, 'amount', p_amount, 'starts_at', obol.utc(COALESCE(p_starts_at, v_now)),
            'expires_at', obol.utc(p_expires_at), 'reason', p_reason, 'reference', p_reference,
            'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
    END IF;
    -- The balance as the first call found it, once it has started.
    RETURN QUERY SELECT d.*, COALESCE((SELECT e.balance_after FROM obol.ledger_entries e
                                        WHERE e.license_id = p_license_id AND e.kind = 'grant'
                                          AND e.cause_id = v_grant_id), l.balance)
                   FROM obol.describe_grants(p_license_id) d
                   JOIN obol.licenses l ON l.license_id = p_license_id
                  WHERE d.grant_id = v_grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.grant_credits_v2(uuid, uuid, bigint, integer, timestamptz, timestamptz, text, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.grant_credits_v2(uuid, uuid, bigint, integer, timestamptz, timestamptz, text, text, text, bytea, bytea, text) TO obol_service;
