-- Adds the usage of a license's next p_most entries to its roll-up. Returns how many entries that were: 0 when there
-- are none, or when somebody else is at it. No charge waits for it, and it for none.
CREATE OR REPLACE FUNCTION obol.roll_up_usage(p_license_id uuid, p_most integer)
RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_after bigint;
    v_through bigint;
BEGIN
    INSERT INTO obol.usage_watermarks (license_id, entry_no)
    SELECT l.license_id, 0 FROM obol.licenses l WHERE l.license_id = p_license_id
    ON CONFLICT DO NOTHING;
    SELECT w.entry_no INTO v_after FROM obol.usage_watermarks w
     WHERE w.license_id = p_license_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- The number of an entry is taken under the lock of its license: whoever sees one sees all below it.
    SELECT LEAST(l.entry_count, v_after + p_most) INTO v_through
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    INSERT INTO obol.usage_rollups AS r
           (license_id, day, model, key_id, calls, credits, input_tokens, output_tokens, cache_write_5m_tokens,
            cache_write_1h_tokens, cache_read_tokens, refunded)
    SELECT p_license_id, u.day, u.model, u.key_id, sum(u.calls), sum(u.credits), sum(u.input_tokens), sum(u.output_tokens),
           sum(u.cache_write_5m_tokens), sum(u.cache_write_1h_tokens), sum(u.cache_read_tokens), sum(u.refunded)
      FROM obol.entry_usage u
     WHERE u.license_id = p_license_id AND u.entry_no > v_after AND u.entry_no <= v_through
     GROUP BY u.day, u.model, u.key_id
    ON CONFLICT (license_id, day, model, key_id) DO UPDATE
       SET calls = r.calls + excluded.calls,
           credits = r.credits + excluded.credits,
           input_tokens = r.input_tokens + excluded.input_tokens,
           output_tokens = r.output_tokens + excluded.output_tokens,
           cache_write_5m_tokens = r.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
           cache_write_1h_tokens = r.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
           cache_read_tokens = r.cache_read_tokens + excluded.cache_read_tokens,
           refunded = r.refunded + excluded.refunded;
    UPDATE obol.usage_watermarks w SET entry_no = v_through
     WHERE w.license_id = p_license_id AND w.entry_no < v_through;
    RETURN v_through - v_after;
END
$$;

REVOKE ALL ON FUNCTION obol.roll_up_usage(uuid, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.roll_up_usage(uuid, integer) TO obol_service;
