-- What each charge, deduction and refund says of the usage of its license. A refund counts on its own day, under the
-- model and the key of what it gives back. A count that is no number is 0; verify finds it by the charge.
CREATE OR REPLACE VIEW obol.entry_usage AS
SELECT e.license_id,
       e.entry_no,
       (e.created_at AT TIME ZONE 'UTC')::date AS day,
       COALESCE(c.model, e.model) AS model,
       COALESCE(c.key_id, e.key_id) AS key_id,
       CASE WHEN e.kind = 'refund' THEN 0 ELSE 1 END AS calls,
       CASE WHEN e.kind = 'refund' THEN 0 ELSE -e.amount END AS credits,
       t.input_tokens,
       t.output_tokens,
       t.cache_write_5m_tokens,
       t.cache_write_1h_tokens,
       t.cache_read_tokens,
       CASE WHEN e.kind = 'refund' THEN e.amount ELSE 0 END AS refunded
  FROM obol.ledger_entries e
  LEFT JOIN obol.ledger_entries c
         ON e.kind = 'refund' AND c.license_id = e.license_id AND c.cause_id = e.cause_id
        AND c.kind IN ('charge', 'deduction')
 CROSS JOIN LATERAL (
    SELECT COALESCE(sum(a.input), 0) AS input_tokens,
           COALESCE(sum(a.output), 0) AS output_tokens,
           COALESCE(sum(a.cache_write_5m), 0) AS cache_write_5m_tokens,
           COALESCE(sum(a.cache_write_1h), 0) AS cache_write_1h_tokens,
           COALESCE(sum(a.cache_read), 0) AS cache_read_tokens
      FROM (SELECT CASE jsonb_typeof(u.tokens -> 'input') WHEN 'number' THEN (u.tokens -> 'input')::numeric END AS input,
                   CASE jsonb_typeof(u.tokens -> 'output') WHEN 'number' THEN (u.tokens -> 'output')::numeric END AS output,
                   CASE jsonb_typeof(u.tokens -> 'cache_write_5m')
                        WHEN 'number' THEN (u.tokens -> 'cache_write_5m')::numeric END AS cache_write_5m,
                   CASE jsonb_typeof(u.tokens -> 'cache_write_1h')
                        WHEN 'number' THEN (u.tokens -> 'cache_write_1h')::numeric END AS cache_write_1h,
                   CASE jsonb_typeof(u.tokens -> 'cache_read')
                        WHEN 'number' THEN (u.tokens -> 'cache_read')::numeric END AS cache_read
              FROM jsonb_array_elements(CASE WHEN e.usage IS NULL THEN '[]'
                                             WHEN jsonb_typeof(e.usage -> 'attempts') = 'array' THEN e.usage -> 'attempts'
                                             ELSE jsonb_build_array(e.usage) END) AS u (tokens)) a) t
 WHERE e.kind IN ('charge', 'deduction', 'refund');
