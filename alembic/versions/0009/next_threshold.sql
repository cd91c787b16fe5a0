-- What licenses.notify_below is to be at a balance: the highest threshold below it, 0 when there is none, and -1 when
-- the balance is 0 and that is told.
CREATE OR REPLACE FUNCTION obol.next_threshold(p_alerts jsonb, p_base bigint, p_balance bigint)
RETURNS bigint
LANGUAGE plpgsql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF p_balance = 0 THEN
        RETURN -1;
    END IF;
    RETURN COALESCE((SELECT max(t.threshold) FROM obol.list_thresholds(p_alerts, p_base) t
                      WHERE t.threshold < p_balance), 0);
END
$$;

REVOKE ALL ON FUNCTION obol.next_threshold(jsonb, bigint, bigint) FROM PUBLIC;
