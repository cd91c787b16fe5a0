-- What is kept of the business by time, compared with the entries that it was counted from, where it was counted for
-- good: see verify. By ten minutes; and by day, where entries of the day are archived, of which the sums by day are kept.
CREATE OR REPLACE FUNCTION obol.verify_business()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH counted AS NOT MATERIALIZED (
        SELECT COALESCE(min(r.begins_at) FILTER (WHERE NOT r.is_final), max(r.begins_at) + interval '10 minutes') AS counted_to
          FROM obol.business_rollups r
    )
    SELECT NULL::uuid, 'the business by time is what its entries say',
           format('from %s on: %s credits of changes and %s of charges too many, or others of its figures differ',
                  min(d.begins_at), sum(d.total), sum(d.charged))
      FROM (SELECT r.begins_at, r.total, r.granted, r.charged, r.refunded, r.expired, r.voided, r.adjusted, r.shortfall
              FROM obol.business_rollups r
             WHERE r.begins_at < (SELECT c.counted_to FROM counted c)
            UNION ALL
            SELECT e.begins_at, -sum(e.total), -sum(e.granted), -sum(e.charged), -sum(e.refunded), -sum(e.expired),
                   -sum(e.voided), -sum(e.adjusted), -sum(e.shortfall)
              FROM obol.entry_business e
             WHERE e.begins_at < (SELECT c.counted_to FROM counted c)
             GROUP BY e.begins_at
            UNION ALL
            SELECT a.day::timestamp AT TIME ZONE 'UTC', -sum(a.total), -sum(a.granted), -sum(a.charged), -sum(a.refunded),
                   -sum(a.expired), -sum(a.voided), -sum(a.adjusted), -sum(a.shortfall)
              FROM obol.archived_days a
             GROUP BY a.day) d
      LEFT JOIN (SELECT DISTINCT a.day FROM obol.archived_days a) o ON o.day = (d.begins_at AT TIME ZONE 'UTC')::date
     GROUP BY COALESCE(o.day::timestamp AT TIME ZONE 'UTC', d.begins_at)
    HAVING sum(d.total) <> 0 OR sum(d.granted) <> 0 OR sum(d.charged) <> 0 OR sum(d.refunded) <> 0
        OR sum(d.expired) <> 0 OR sum(d.voided) <> 0 OR sum(d.adjusted) <> 0 OR sum(d.shortfall) <> 0
$$;

REVOKE ALL ON FUNCTION obol.verify_business() FROM PUBLIC;
