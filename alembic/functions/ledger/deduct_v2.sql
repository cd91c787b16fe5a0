-- As deduct, for who has a token in place of the license's key: a program that sells something of its own. It
-- needs the scope for grants: whoever may adjust a balance downwards can do no more with this, and whoever
-- may only manage licenses touches no balance. The idempotency key is in the license's own scope. The
-- license's limits hold, a key's do not.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), and those of deduct.
CREATE OR REPLACE FUNCTION obol.deduct_v2(
    p_license_id uuid,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_deduction_id uuid;
    v_is_booked boolean;
    v_amount bigint;
    v_balance bigint;
BEGIN
    -- Locked before it is looked whether this was done before, so that an act is told from the replay of one.
    PERFORM obol.lock_license(p_license_id);
    v_is_booked := EXISTS (SELECT FROM obol.ledger_entries e
                            WHERE e.license_id = p_license_id AND e.kind = 'deduction' AND e.cause_id = p_deduction_id);
    -- Any key of the license that is good; it is not what the caller is known by.
    SELECT d.deduction_id, d.amount, d.balance INTO v_deduction_id, v_amount, v_balance
      FROM obol.book_deduction(p_license_id, (SELECT k.key_digest FROM obol.license_key_validity k
                                       WHERE k.license_id = p_license_id ORDER BY k.valid_until DESC LIMIT 1),
                       p_deduction_id, p_amount, p_idempotency_key, p_fingerprint, p_reference, false) d;
    IF v_deduction_id = p_deduction_id AND NOT v_is_booked THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'deduct', v_deduction_id::text, jsonb_build_object(
            'amount', v_amount, 'reference', p_reference), p_request_id);
    END IF;
    RETURN QUERY SELECT v_deduction_id, v_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) TO obol_service;
