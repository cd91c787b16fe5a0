-- The charge for a usage at a price: sum of (tokens x credits per million tokens) over the
-- five classes, rounded up once. The service computes the same in service/pricing.py;
-- verify() uses this one, so that each checks the other.
CREATE OR REPLACE FUNCTION obol.charge_for(p_price jsonb, p_usage jsonb)
RETURNS numeric
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- Times a millionth, which is exact; a quotient would be rounded before ceil sees it.
    -- A price that lacks a class, or a usage that is no number, gives NULL: never a silent zero.
    SELECT CASE WHEN bool_and(jsonb_typeof(p_price -> class) = 'number') AND p_usage IS NOT NULL
                     AND bool_and(jsonb_typeof(COALESCE(p_usage -> class, '0')) = 'number') THEN
               ceil(sum(CASE WHEN jsonb_typeof(p_price -> class) = 'number'
                              AND jsonb_typeof(COALESCE(p_usage -> class, '0')) = 'number' THEN
                            (p_price ->> class)::numeric * COALESCE((p_usage ->> class)::numeric, 0)
                        END) * 0.000001)
           END
      FROM unnest(ARRAY['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read']) AS class
$$;

REVOKE ALL ON FUNCTION obol.charge_for(jsonb, jsonb) FROM PUBLIC;
