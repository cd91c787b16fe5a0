-- As set_prices, for who has a token. Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT.
CREATE OR REPLACE FUNCTION obol.set_prices_v2(
    p_rows jsonb,
    p_dry_run boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (model_pattern text, effective_from timestamptz, before jsonb, after jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_changes jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('model_pattern', s.model_pattern, 'effective_from', s.effective_from,
                                        'before', s.before, 'after', s.after))
      INTO v_changes FROM obol.set_prices(p_rows, p_dry_run) s;
    IF v_changes IS NOT NULL AND NOT p_dry_run THEN
        PERFORM obol.note_act(NULL, v_actor, 'set_prices', NULL, v_changes, p_request_id);
    END IF;
    RETURN QUERY
        SELECT c.model_pattern, c.effective_from, NULLIF(c.before, 'null'), NULLIF(c.after, 'null')
          FROM jsonb_to_recordset(v_changes)
            AS c (model_pattern text, effective_from timestamptz, before jsonb, after jsonb);
END
$$;

REVOKE ALL ON FUNCTION obol.set_prices_v2(jsonb, boolean, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_prices_v2(jsonb, boolean, bytea, text) TO obol_service;
