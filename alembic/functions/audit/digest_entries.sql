-- Goes on with the digest of a license's entries, from the one after p_after, for p_blocks blocks at most or to
-- p_through: SHA-256 over p_state and the next thousand entries, and again, so that a license of any length takes no
-- more memory than a thousand entries. A block ends with each number that a thousand divides; one without entries
-- counts for nothing. Returns the digest, the number that it has come to, and how many entries there were until there:
-- whoever goes on, goes on from that number.
-- This is version 1 of what is in a digest. Its columns stay what they are, or the heads that were kept agree with
-- nothing: another list is another function.
CREATE OR REPLACE FUNCTION obol.digest_entries(
    p_license_id uuid,
    p_after bigint,
    p_through bigint,
    p_blocks integer,
    p_state bytea
) RETURNS TABLE (state bytea, through bigint, total bigint)
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
        SELECT min(e.entry_no) INTO v_first FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no > through AND e.entry_no <= p_through;
        IF v_first IS NULL THEN
            through := p_through;
            EXIT;
        END IF;
        through := LEAST(ceil(v_first / c_block) * c_block, p_through);
        -- Times as microseconds, because text depends on the session's zone.
        SELECT convert_to(string_agg(json_build_array(
                   e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id, e.part_id, e.key_id, e.reference, e.model, e.price,
                   e.usage, e.shortfall, (extract(epoch FROM e.created_at) * 1000000)::bigint)::text, E'\n'
                   ORDER BY e.entry_no), 'UTF8'), count(*)
          INTO v_block, v_count
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no >= v_first AND e.entry_no <= through;
        state := sha256(state || v_block);
        total := total + v_count;
    END LOOP;
    RETURN NEXT;
END
$$;

REVOKE ALL ON FUNCTION obol.digest_entries(uuid, bigint, bigint, integer, bytea) FROM PUBLIC;
