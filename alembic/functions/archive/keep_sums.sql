-- Keeps what is known of entries that are about to leave the tables, each as a sum that is added to: their usage, what they
-- gave and took by day, of each grant how often it started, what lapsed of it and what was drawn, and of each grant of a
-- payment what was voided.
CREATE OR REPLACE FUNCTION obol.keep_sums(p_license_id uuid, p_first bigint, p_last bigint)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO obol.archived_usage AS k
           (license_id, day, model, key_id, calls, credits, input_tokens, output_tokens, cache_write_5m_tokens,
            cache_write_1h_tokens, cache_read_tokens, refunded)
    SELECT p_license_id, u.day, u.model, u.key_id, sum(u.calls), sum(u.credits), sum(u.input_tokens), sum(u.output_tokens),
           sum(u.cache_write_5m_tokens), sum(u.cache_write_1h_tokens), sum(u.cache_read_tokens), sum(u.refunded)
      FROM obol.entry_usage u
     WHERE u.license_id = p_license_id AND u.entry_no BETWEEN p_first AND p_last
     GROUP BY u.day, u.model, u.key_id
    ON CONFLICT (license_id, day, model, key_id) DO UPDATE
       SET calls = k.calls + excluded.calls,
           credits = k.credits + excluded.credits,
           input_tokens = k.input_tokens + excluded.input_tokens,
           output_tokens = k.output_tokens + excluded.output_tokens,
           cache_write_5m_tokens = k.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
           cache_write_1h_tokens = k.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
           cache_read_tokens = k.cache_read_tokens + excluded.cache_read_tokens,
           refunded = k.refunded + excluded.refunded;
    INSERT INTO obol.archived_days AS k
           (license_id, day, total, granted, charged, refunded, expired, voided, adjusted, shortfall)
    SELECT p_license_id, (e.created_at AT TIME ZONE 'UTC')::date, sum(e.amount),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'grant'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind IN ('charge', 'deduction')), 0),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'refund'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind = 'expiry'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind = 'void'), 0),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'adjustment'), 0),
           sum(e.shortfall)
      FROM obol.ledger_entries e
     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
     GROUP BY 2
    ON CONFLICT (license_id, day) DO UPDATE
       SET total = k.total + excluded.total,
           granted = k.granted + excluded.granted,
           charged = k.charged + excluded.charged,
           refunded = k.refunded + excluded.refunded,
           expired = k.expired + excluded.expired,
           voided = k.voided + excluded.voided,
           adjusted = k.adjusted + excluded.adjusted,
           shortfall = k.shortfall + excluded.shortfall;
    UPDATE obol.grants g
       SET archived_starts = g.archived_starts + s.starts,
           archived_lapsed = g.archived_lapsed + s.lapsed,
           archived_drawn = g.archived_drawn + s.drawn
      FROM (SELECT c.grant_id, sum(c.starts)::bigint AS starts, sum(c.lapsed)::bigint AS lapsed, sum(c.drawn)::bigint AS drawn
              FROM (SELECT CASE e.kind WHEN 'refund' THEN e.part_id ELSE e.cause_id END AS grant_id,
                           (e.kind NOT IN ('expiry', 'void'))::integer AS starts,
                           CASE WHEN e.kind IN ('expiry', 'void') THEN -e.amount ELSE 0 END AS lapsed, 0 AS drawn
                      FROM obol.ledger_entries e
                     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
                       AND (e.kind IN ('grant', 'refund', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0))
                    UNION ALL
                    SELECT a.grant_id, 0, 0, a.balance_from - a.balance_to
                      FROM obol.allotments a
                     WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last) c
             GROUP BY c.grant_id) s
     WHERE g.license_id = p_license_id AND g.grant_id = s.grant_id;
    UPDATE obol.payment_grants o
       SET archived_voided = o.archived_voided + s.voided,
           archived_taken = o.archived_taken + s.taken
      FROM (SELECT p.grant_id, -sum(e.amount)::bigint AS voided,
                   -COALESCE(sum(e.amount) FILTER (WHERE e.reference = 'payment ' || p.payment_id), 0)::bigint AS taken
              FROM obol.ledger_entries e
              JOIN obol.payment_grants p ON p.license_id = p_license_id AND p.grant_id = e.cause_id
             WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'void'
             GROUP BY p.grant_id) s
     WHERE o.license_id = p_license_id AND o.grant_id = s.grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.keep_sums(uuid, bigint, bigint) FROM PUBLIC;
