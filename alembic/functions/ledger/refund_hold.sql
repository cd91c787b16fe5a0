-- As refund, for who has a token. Errors, in order: ADMIN_FORBIDDEN, HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.refund_hold(
    p_license_id uuid,
    p_cause_id uuid,
    p_reference text,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_amount bigint;
    v_balance bigint;
BEGIN
    SELECT r.amount, r.balance INTO v_amount, v_balance FROM obol.refund(p_license_id, p_cause_id, p_reference) r;
    IF obol.is_booked_now(p_license_id, 'refund', p_cause_id) THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'refund', p_cause_id::text, jsonb_build_object(
            'amount', v_amount, 'reference', p_reference), p_request_id);
    END IF;
    RETURN QUERY SELECT v_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.refund_hold(uuid, uuid, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.refund_hold(uuid, uuid, text, bytea, text) TO obol_service;
