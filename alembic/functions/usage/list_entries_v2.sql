-- The entries of a license numbered above p_after and below p_before (null: from the newest), newest first, at most
-- p_limit: those of a kind, of a model, of a key, from one time on, before another; null: any. It looks at every entry between
-- the two numbers, so the caller bounds what one statement may cost.
-- Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.list_entries_v2(
    p_license_id uuid,
    p_kind text,
    p_model text,
    p_key_id uuid,
    p_from timestamptz,
    p_to timestamptz,
    p_after bigint,
    p_before bigint,
    p_limit integer,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (entry_no bigint, kind text, amount bigint, balance_after bigint, cause_id uuid,
                 reference text, model text, key_id uuid, usage jsonb, created_at timestamptz)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_beyond constant bigint := 9223372036854775807;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY SELECT e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id,
                        e.reference, e.model, e.key_id, e.usage, e.created_at
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id
                    -- Both are bounds of the index, whatever plan is kept: an OR would read from the newest entry on.
                    AND e.entry_no > p_after AND e.entry_no < COALESCE(p_before, c_beyond)
                    AND (p_kind IS NULL OR e.kind = p_kind)
                    AND (p_model IS NULL OR e.model = p_model)
                    AND (p_key_id IS NULL OR e.key_id = p_key_id)
                    AND (p_from IS NULL OR e.created_at >= p_from)
                    AND (p_to IS NULL OR e.created_at < p_to)
                  ORDER BY e.entry_no DESC
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_entries_v2(uuid, text, text, uuid, timestamptz, timestamptz, bigint, bigint, integer, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_entries_v2(uuid, text, text, uuid, timestamptz, timestamptz, bigint, bigint, integer, bytea, bytea, text) TO obol_service;
