-- What the roll-ups of usage say, compared with the entries that they were made of: see verify.
CREATE OR REPLACE FUNCTION obol.verify_usage()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.license_id, 'usage is what the entries up to its watermark say',
           format('%s, model %s: %s calls and %s credits too many, or others of its figures differ', d.day,
                  COALESCE(d.model, 'none'), sum(d.calls), sum(d.credits))
      FROM (SELECT r.license_id, r.day, r.model, r.key_id, r.calls, r.credits, r.input_tokens, r.output_tokens,
                   r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.cache_read_tokens, r.refunded
              FROM obol.usage_rollups r
            UNION ALL
            SELECT k.license_id, k.day, k.model, k.key_id, -k.calls, -k.credits, -k.input_tokens, -k.output_tokens,
                   -k.cache_write_5m_tokens, -k.cache_write_1h_tokens, -k.cache_read_tokens, -k.refunded
              FROM obol.archived_usage k
            UNION ALL
            SELECT u.license_id, u.day, u.model, u.key_id, -u.calls, -u.credits, -u.input_tokens, -u.output_tokens,
                   -u.cache_write_5m_tokens, -u.cache_write_1h_tokens, -u.cache_read_tokens, -u.refunded
              FROM obol.entry_usage u
              JOIN obol.usage_watermarks w ON w.license_id = u.license_id AND u.entry_no <= w.entry_no) d
     GROUP BY d.license_id, d.day, d.model, d.key_id
    HAVING sum(d.calls) <> 0 OR sum(d.credits) <> 0 OR sum(d.input_tokens) <> 0 OR sum(d.output_tokens) <> 0
        OR sum(d.cache_write_5m_tokens) <> 0 OR sum(d.cache_write_1h_tokens) <> 0 OR sum(d.cache_read_tokens) <> 0
        OR sum(d.refunded) <> 0
    UNION ALL
    SELECT w.license_id, 'no usage is rolled up that is not in the ledger',
           format('rolled up to entry %s of %s', w.entry_no, l.entry_count)
      FROM obol.usage_watermarks w JOIN obol.licenses l USING (license_id)
     WHERE w.entry_no > l.entry_count
$$;

REVOKE ALL ON FUNCTION obol.verify_usage() FROM PUBLIC;
