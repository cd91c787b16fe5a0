-- The money of a payment that refunds have taken and that has arrived, or still may. p_told: {event id: {"amount", "at"}},
-- how much Stripe said was refunded in all, and when (epoch seconds); p_failed: {refund id: {"amount", "begun_at",
-- "failed_at"}}, those that came back. Stripe's sum has a refund from when it is begun until it fails. So of each sum there
-- remains what failed in none of it since; what remains only grows from one to the next, and the most is what is so now,
-- in whatever order all this was told.
CREATE OR REPLACE FUNCTION obol.sum_refunds(p_told jsonb, p_failed jsonb)
RETURNS bigint
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT GREATEST(0, max((t.value ->> 'amount')::bigint - COALESCE(f.amount, 0)))
              FROM jsonb_each(p_told) t
             CROSS JOIN LATERAL (
                SELECT sum((r.value ->> 'amount')::bigint)::bigint AS amount
                  FROM jsonb_each(p_failed) r
                 -- It may fail in the second in which it is begun and told.
                 WHERE (r.value ->> 'begun_at')::bigint = (t.value ->> 'at')::bigint
                    OR ((r.value ->> 'begun_at')::bigint < (t.value ->> 'at')::bigint
                        AND (r.value ->> 'failed_at')::bigint > (t.value ->> 'at')::bigint)) f);
END
$$;

REVOKE ALL ON FUNCTION obol.sum_refunds(jsonb, jsonb) FROM PUBLIC;
