-- As digest_entries, of the acts of the audit trail. Their numbers have gaps, where what would have been an act was
-- taken back.
CREATE OR REPLACE FUNCTION obol.digest_acts(p_after bigint, p_through bigint, p_blocks integer, p_state bytea)
RETURNS TABLE (state bytea, through bigint, total bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_block constant numeric := 1000;
    v_first bigint;
    v_block bytea;
    v_count bigint;
BEGIN
    state := p_state;
    through := p_after;
    total := 0;
    FOR v_number IN 1..p_blocks LOOP
        SELECT min(a.act_no) INTO v_first FROM obol.admin_acts a WHERE a.act_no > through AND a.act_no <= p_through;
        IF v_first IS NULL THEN
            through := p_through;
            EXIT;
        END IF;
        through := LEAST(ceil(v_first / c_block) * c_block, p_through);
        SELECT convert_to(string_agg(json_build_array(
                   a.act_no, (extract(epoch FROM a.acted_at) * 1000000)::bigint, a.actor, a.act, a.license_id, a.target,
                   a.detail, a.request_id)::text, E'\n' ORDER BY a.act_no), 'UTF8'), count(*)
          INTO v_block, v_count
          FROM obol.admin_acts a
         WHERE a.act_no >= v_first AND a.act_no <= through;
        state := sha256(state || v_block);
        total := total + v_count;
    END LOOP;
    RETURN NEXT;
END
$$;

REVOKE ALL ON FUNCTION obol.digest_acts(bigint, bigint, integer, bytea) FROM PUBLIC;
