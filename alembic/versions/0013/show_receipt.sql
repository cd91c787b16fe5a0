-- The receipt of a charge (p_cause_id: its hold) or of a deduction: what was taken and for what; what it drew on, a list
-- of {"grant_id", "amount"}, the first that burnt first, null for an entry of before grants had lifetimes; and what
-- has come back, a list of {"refund_id", "entry_no", "amount", "reference", "created_at"}. hold_amount and the times of the
-- hold are null for a deduction. An open or released hold has no receipt.
-- Errors: see check_reader; HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.show_receipt(
    p_license_id uuid,
    p_cause_id uuid,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (cause_id uuid, kind text, entry_no bigint, charged bigint, shortfall bigint, balance_after bigint,
                 reference text, model text, key_id uuid, price jsonb, usage jsonb, created_at timestamptz, hold_amount bigint,
                 opened_at timestamptz, delivered_at timestamptz, draws jsonb, refunds jsonb, refunded numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY
        SELECT e.cause_id, e.kind, e.entry_no, -e.amount, e.shortfall, e.balance_after, e.reference, e.model, e.key_id, e.price,
               e.usage, e.created_at, h.amount, h.opened_at, h.delivered_at,
               CASE WHEN e.amount = 0 THEN '[]' ELSE d.draws END, COALESCE(r.refunds, '[]'), COALESCE(r.refunded, 0)
          FROM obol.ledger_entries e
          LEFT JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
         CROSS JOIN (SELECT jsonb_agg(jsonb_build_object('grant_id', l.grant_id, 'amount', l.amount)
                                      ORDER BY l.before DESC) AS draws
                       FROM obol.list_draws(p_license_id, p_cause_id) l) d
         CROSS JOIN (SELECT jsonb_agg(jsonb_build_object(
                                'refund_id', b.part_id, 'entry_no', b.entry_no, 'amount', b.amount,
                                'reference', b.reference, 'created_at', b.created_at) ORDER BY b.entry_no) AS refunds,
                            sum(b.amount) AS refunded
                       FROM obol.ledger_entries b
                      WHERE b.license_id = p_license_id AND b.kind = 'refund' AND b.cause_id = p_cause_id) r
         WHERE e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: this license has no charge or deduction %', p_cause_id USING ERRCODE = 'OB404';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.show_receipt(uuid, uuid, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_receipt(uuid, uuid, bytea, bytea, text) TO obol_service;
