-- Gives back what a charge or a deduction took: p_amount of it, or all that has not come back yet
-- (null). Never more than was taken, in all parts together. Once per refund id, and once per
-- idempotency key of the operator: the same again gives the first result, and so does a whole refund
-- of what has come back whole. balance is the one after the refund; lapsed of it came from grants that
-- had ended, and is gone again, as soon as no hold covers it.
-- Errors, in order: ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED, HOLD_NOT_FOUND, INVALID_AMOUNT, REFUND_EXCEEDS_CHARGE; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.refund_v2(
    p_license_id uuid,
    p_cause_id uuid,
    p_refund_id uuid,
    p_amount bigint,
    p_reason text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (refund_id uuid, amount bigint, balance bigint, lapsed bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_key obol.idempotency_keys;
    v_refund_id uuid;
    v_left bigint;
    v_entry_no bigint;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_refund_id := COALESCE(v_key.cause_id, p_refund_id);
    v_left := obol.refundable(p_license_id, p_cause_id);
    IF v_left IS NULL THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
    -- Asked again, or whole though it has come back whole: the refund that there is.
    SELECT r.entry_no INTO v_entry_no FROM obol.ledger_entries r
     WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id
       AND (r.part_id = v_refund_id OR (p_amount IS NULL AND v_left = 0))
     ORDER BY COALESCE(r.part_id = v_refund_id, false) DESC, r.entry_no DESC
     LIMIT 1;
    IF NOT FOUND THEN
        IF p_amount < 1 THEN
            PERFORM obol.refuse_amount('amount', 1);
        ELSIF p_amount > v_left THEN
            RAISE EXCEPTION 'REFUND_EXCEEDS_CHARGE: % credits were to be given back, and % of the charge are left',
                    p_amount, v_left
                USING ERRCODE = 'OB416', DETAIL = json_build_object('refundable', v_left),
                      HINT = format('Give back %s at most.', v_left);
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_refund_id);
        END IF;
        PERFORM obol.bring_up_to_date(p_license_id, true);
        v_entry_no := obol.give_back(p_license_id, p_cause_id, v_refund_id, COALESCE(p_amount, v_left), p_reason);
        PERFORM obol.note_act(p_license_id, v_actor, 'refund', p_cause_id::text,
                              jsonb_build_object('amount', COALESCE(p_amount, v_left), 'reason', p_reason), p_request_id);
    END IF;
    RETURN QUERY
        SELECT r.part_id, r.amount, r.balance_after,
               COALESCE((SELECT sum(a.balance_to - a.balance_from)::bigint
                           FROM obol.allotments a
                           JOIN obol.grants g ON g.license_id = p_license_id AND g.grant_id = a.grant_id
                          WHERE a.license_id = p_license_id AND a.last_entry_no = r.entry_no
                            AND LEAST(g.voided_at, g.expires_at) <= r.created_at), 0)
          FROM obol.ledger_entries r
         WHERE r.license_id = p_license_id AND r.entry_no = v_entry_no;
END
$$;

REVOKE ALL ON FUNCTION obol.refund_v2(uuid, uuid, uuid, bigint, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.refund_v2(uuid, uuid, uuid, bigint, text, text, bytea, bytea, text) TO obol_service;
