-- The price book as the service reads it: one JSON object a row, with its tiers; null where a
-- pattern has ended.
CREATE OR REPLACE VIEW obol.price_book AS
    SELECT p.model_pattern, p.effective_from,
           CASE WHEN p.input IS NOT NULL THEN
               jsonb_build_object('input', p.input, 'output', p.output, 'cache_write_5m', p.cache_write_5m,
                                  'cache_write_1h', p.cache_write_1h, 'cache_read', p.cache_read)
               || COALESCE((
                   SELECT jsonb_build_object('tiers', jsonb_agg(
                              jsonb_build_object('above_input_tokens', t.above_input_tokens,
                                                 'input', t.input, 'output', t.output,
                                                 'cache_write_5m', t.cache_write_5m,
                                                 'cache_write_1h', t.cache_write_1h, 'cache_read', t.cache_read)
                              ORDER BY t.above_input_tokens))
                     FROM obol.price_tiers t
                    WHERE t.model_pattern = p.model_pattern AND t.effective_from = p.effective_from
                   HAVING count(*) > 0), '{}')
           END AS price
      FROM obol.prices p;
