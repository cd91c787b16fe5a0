-- How much of what a charge or a deduction took has not come back; null when there is none.
CREATE OR REPLACE FUNCTION obol.refundable(p_license_id uuid, p_cause_id uuid)
RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT -e.amount - COALESCE((SELECT sum(r.amount) FROM obol.ledger_entries r
                                          WHERE r.license_id = p_license_id AND r.kind = 'refund'
                                            AND r.cause_id = p_cause_id), 0)
              FROM obol.ledger_entries e
             WHERE e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id);
END
$$;

REVOKE ALL ON FUNCTION obol.refundable(uuid, uuid) FROM PUBLIC;
