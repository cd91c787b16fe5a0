-- The statement of the license that a key opens: entries below p_before (null: from the
-- newest), newest first, at most p_limit. Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.list_entries(
    p_license_id uuid,
    p_key_digest bytea,
    p_before bigint,
    p_limit integer
) RETURNS TABLE (entry_no bigint, kind text, amount bigint, balance_after bigint, cause_id uuid,
                 reference text, model text, usage jsonb, created_at timestamptz)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id,
                        e.reference, e.model, e.usage, e.created_at
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id
                    AND (p_before IS NULL OR e.entry_no < p_before)
                  ORDER BY e.entry_no DESC
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_entries(uuid, bytea, bigint, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_entries(uuid, bytea, bigint, integer) TO obol_service;
