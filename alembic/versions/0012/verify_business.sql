-- What is kept of the business by time, compared with the entries that it was counted from, where it was counted for
-- good: see verify.
CREATE OR REPLACE FUNCTION obol.verify_business()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NULL::uuid, 'the business by time is what its entries say',
           format('from %s on: %s credits of changes and %s of charges too many, or others of its figures differ',
                  d.begins_at, sum(d.total), sum(d.charged))
      FROM (SELECT r.begins_at, r.total, r.granted, r.charged, r.refunded, r.expired, r.voided, r.adjusted, r.shortfall
              FROM obol.business_rollups r
             WHERE r.is_final
            UNION ALL
            SELECT e.begins_at, -sum(e.total), -sum(e.granted), -sum(e.charged), -sum(e.refunded), -sum(e.expired),
                   -sum(e.voided), -sum(e.adjusted), -sum(e.shortfall)
              FROM obol.entry_business e
             WHERE e.begins_at <= (SELECT max(r.begins_at) FROM obol.business_rollups r WHERE r.is_final)
             GROUP BY e.begins_at) d
     GROUP BY d.begins_at
    HAVING sum(d.total) <> 0 OR sum(d.granted) <> 0 OR sum(d.charged) <> 0 OR sum(d.refunded) <> 0
        OR sum(d.expired) <> 0 OR sum(d.voided) <> 0 OR sum(d.adjusted) <> 0 OR sum(d.shortfall) <> 0
$$;

REVOKE ALL ON FUNCTION obol.verify_business() FROM PUBLIC;
