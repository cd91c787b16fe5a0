-- Which entries of a license may be of a time (p_from: from then on; p_to: before; null: whenever): those numbered above
-- after_no, up to through_no, the newest one as of now. Found by halving, because entries are numbered in the order of
-- their times; for the hour that the clocks of two database servers may differ by, there are some more. What is archived
-- is in no span.
-- Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.entry_span(
    p_license_id uuid,
    p_from timestamptz,
    p_to timestamptz,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (after_no bigint, through_no bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bounds bigint[];
    v_count bigint;
    v_archived bigint;
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_at timestamptz;
    v_is_before boolean;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT l.entry_count, COALESCE(a.last_entry_no, 0) INTO v_count, v_archived
      FROM obol.licenses l
      LEFT JOIN obol.archived a ON a.license_id = l.license_id
     WHERE l.license_id = p_license_id;
    FOREACH v_at IN ARRAY ARRAY[COALESCE(p_from, '-infinity') - interval '1 hour',
                                COALESCE(p_to, 'infinity') + interval '1 hour'] LOOP
        -- The last entry before v_at is in [v_low, v_high]; v_archived: there is none.
        v_low := v_archived;
        v_high := v_count;
        WHILE v_low < v_high LOOP
            v_middle := v_low + (v_high - v_low + 1) / 2;
            SELECT e.created_at < v_at INTO v_is_before FROM obol.ledger_entries e
             WHERE e.license_id = p_license_id AND e.entry_no = v_middle;
            IF v_is_before THEN
                v_low := v_middle;
            ELSE
                v_high := v_middle - 1;
            END IF;
        END LOOP;
        v_bounds := v_bounds || v_low;
    END LOOP;
    RETURN QUERY SELECT v_bounds[1], GREATEST(v_bounds[1], v_bounds[2]);
END
$$;

REVOKE ALL ON FUNCTION obol.entry_span(uuid, timestamptz, timestamptz, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.entry_span(uuid, timestamptz, timestamptz, bytea, bytea, text) TO obol_service;
