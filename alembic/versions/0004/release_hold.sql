-- Ends a hold at nothing. The same call again gives the same result. A process may also
-- release a hold of its own that has expired: its credits are back already, and released it
-- can no longer be settled late. p_unpaid is what its client got of the answer all the same, as in
-- obol.holds; its tokens count against the license for an hour.
-- Errors, in order: INVALID_LICENSE, HOLD_NOT_FOUND, HOLD_NOT_OPEN; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.release_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_unpaid jsonb
) RETURNS TABLE (amount bigint, state text, expires_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_is_written boolean;
    v_unpaid_tokens bigint := COALESCE((p_unpaid ->> 'tokens')::bigint, 0);
BEGIN
    -- As in settle_hold: the joined hold may be stale, and the guarded update below decides.
    UPDATE obol.licenses l
       SET held = l.held - h.amount,
           unpaid_tokens = v_unpaid_tokens + CASE WHEN l.unpaid_until > v_now THEN l.unpaid_tokens ELSE 0 END,
           unpaid_until = CASE WHEN v_unpaid_tokens = 0 OR l.unpaid_until > v_now THEN l.unpaid_until
                               ELSE v_now + interval '1 hour' END
      FROM obol.holds h
     WHERE l.license_id = p_license_id
       AND h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
       AND h.process_id IS NOT DISTINCT FROM p_process_id
       AND (h.expires_at IS NULL OR h.expires_at > v_now)
       AND l.held >= h.amount;
    v_is_written := FOUND;

    -- Also the check of the key: it raises, and takes the write above back with it.
    v_hold := obol.find_hold(p_license_id, p_key_digest, p_hold_id, p_process_id);
    -- The lock is ours, and v_now may be from before a wait for it.
    v_now := clock_timestamp();
    IF v_is_written AND v_hold.state = 'held' AND v_hold.expires_at <= v_now THEN
        PERFORM obol.refuse_hold(v_hold, 0);
    ELSIF v_is_written THEN
        UPDATE obol.holds h
           SET state = 'released', ended_at = v_now, unpaid = p_unpaid
         WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
        RETURNING h.* INTO v_hold;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the hold ended');
        END IF;
        IF v_hold.limited_by IS NOT NULL THEN
            PERFORM obol.count_end(v_hold, -v_hold.amount, -1);
        END IF;
        PERFORM obol.free_idempotency_key(v_hold);
    ELSIF v_hold.state = 'expired' AND p_process_id IS NOT NULL THEN
        UPDATE obol.licenses l
           SET unpaid_tokens = v_unpaid_tokens + CASE WHEN l.unpaid_until > v_now THEN l.unpaid_tokens ELSE 0 END,
               unpaid_until = CASE WHEN l.unpaid_until > v_now THEN l.unpaid_until ELSE v_now + interval '1 hour' END
         WHERE l.license_id = p_license_id AND v_unpaid_tokens > 0;
        UPDATE obol.holds h
           SET state = 'released', unpaid = p_unpaid
         WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'expired'
        RETURNING h.* INTO v_hold;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the hold was settled');
        END IF;
    ELSIF v_hold.state <> 'released' THEN
        PERFORM obol.refuse_hold(v_hold, 0);
    END IF;
    RETURN QUERY SELECT v_hold.amount, v_hold.state, v_hold.expires_at;
END
$$;

REVOKE ALL ON FUNCTION obol.release_hold(uuid, bytea, uuid, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.release_hold(uuid, bytea, uuid, uuid, jsonb) TO obol_service;
