-- What was in force before 0010.
-- Whether this very transaction has booked an entry: tells an act from the replay of one, also when the same
-- id is asked again after a lost reply.
CREATE OR REPLACE FUNCTION obol.is_booked_now(p_license_id uuid, p_kind text, p_cause_id uuid)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN EXISTS (SELECT FROM obol.ledger_entries e
                    WHERE e.license_id = p_license_id AND e.kind = p_kind AND e.cause_id = p_cause_id
                      AND e.xmin = pg_current_xact_id_if_assigned()::xid);
END
$$;

REVOKE ALL ON FUNCTION obol.is_booked_now(uuid, text, uuid) FROM PUBLIC;

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
    v_amount bigint;
    v_balance bigint;
BEGIN
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    -- Any key of the license that is good; it is not what the caller is known by.
    SELECT d.deduction_id, d.amount, d.balance INTO v_deduction_id, v_amount, v_balance
      FROM obol.book_deduction(p_license_id, (SELECT k.key_digest FROM obol.license_key_validity k
                                       WHERE k.license_id = p_license_id ORDER BY k.valid_until DESC LIMIT 1),
                       p_deduction_id, p_amount, p_idempotency_key, p_fingerprint, p_reference, false) d;
    IF obol.is_booked_now(p_license_id, 'deduction', v_deduction_id) THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'deduct', v_deduction_id::text, jsonb_build_object(
            'amount', v_amount, 'reference', p_reference), p_request_id);
    END IF;
    RETURN QUERY SELECT v_deduction_id, v_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) TO obol_service;
