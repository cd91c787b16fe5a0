-- What is kept of a license's archived entries (keep_sums), each a list of lists: days, of the day, total, granted, charged,
-- refunded, expired, voided, adjusted and shortfall; usage, of the day, model, key and the figures as in usage_rollups; and
-- grants, of the grant, starts, lapsed and drawn, where any of these is not 0; payments, of each grant of a payment the
-- grant, the payment, what was voided, and how much of that was in parts and because of the money.
CREATE OR REPLACE FUNCTION obol.show_sums(p_license_id uuid)
RETURNS TABLE (days jsonb, usage jsonb, grants jsonb, payments jsonb)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT COALESCE((SELECT jsonb_agg(jsonb_build_array(
                             d.day, d.total, d.granted, d.charged, d.refunded, d.expired, d.voided, d.adjusted, d.shortfall))
                           FROM obol.archived_days d WHERE d.license_id = p_license_id), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(
                             u.day, u.model, u.key_id, u.calls, u.credits, u.input_tokens, u.output_tokens,
                             u.cache_write_5m_tokens, u.cache_write_1h_tokens, u.cache_read_tokens, u.refunded))
                           FROM obol.archived_usage u WHERE u.license_id = p_license_id), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(g.grant_id, g.archived_starts, g.archived_lapsed, g.archived_drawn))
                           FROM obol.grants g
                          WHERE g.license_id = p_license_id
                            AND (g.archived_starts, g.archived_lapsed, g.archived_drawn) <> (0, 0, 0)), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(o.grant_id, o.payment_id, o.archived_voided, o.archived_taken))
                           FROM obol.payment_grants o WHERE o.license_id = p_license_id), '[]');
END
$$;

REVOKE ALL ON FUNCTION obol.show_sums(uuid) FROM PUBLIC;
