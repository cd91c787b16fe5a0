-- Counts what the entries of all licenses gave and took, by ten minutes, up to a day of it at once; returns of how many
-- ten minutes that was. 0: nothing is due. What is younger than ten minutes is not counted: an entry is seen when its
-- transaction has ended, a while after its time. What was seen later still, of a transaction that somebody held open or
-- of a server whose clock was behind, is found when all is counted once more, a day later. No charge waits for this,
-- and two processes that do the same do it in the same order, and come to the same.
CREATE OR REPLACE FUNCTION obol.roll_up_business()
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_width constant interval := '10 minutes';
    c_origin constant timestamptz := '2000-01-01T00:00:00Z';
    v_now timestamptz := clock_timestamp();
    v_final_at timestamptz := date_bin(c_width, v_now - interval '1 day', c_origin);
    v_from timestamptz;
    v_to timestamptz;
    v_count integer;
BEGIN
    SELECT max(r.begins_at) + c_width INTO v_from FROM obol.business_rollups r;
    IF v_from IS NULL THEN
        -- A license is older than its entries; the hour is for clocks that differ.
        SELECT date_bin(c_width, min(l.created_at) - interval '1 hour', c_origin) INTO v_from FROM obol.licenses l;
    END IF;
    v_to := LEAST(date_bin(c_width, v_now - c_width, c_origin), v_from + interval '1 day');
    IF v_from >= v_to THEN
        SELECT min(r.begins_at) INTO v_from FROM obol.business_rollups r
         WHERE NOT r.is_final AND r.begins_at < v_final_at;
        v_to := LEAST(v_final_at, v_from + interval '1 day');
    END IF;
    INSERT INTO obol.business_rollups AS r
           (begins_at, is_final, total, granted, charged, refunded, expired, voided, adjusted, shortfall)
    SELECT t.begins_at, t.begins_at < v_final_at, COALESCE(b.total, 0), COALESCE(b.granted, 0), COALESCE(b.charged, 0),
           COALESCE(b.refunded, 0), COALESCE(b.expired, 0), COALESCE(b.voided, 0), COALESCE(b.adjusted, 0),
           COALESCE(b.shortfall, 0)
      FROM generate_series(v_from, v_to - c_width, c_width) AS t (begins_at)
      LEFT JOIN (SELECT e.begins_at, sum(e.total) AS total, sum(e.granted) AS granted, sum(e.charged) AS charged,
                        sum(e.refunded) AS refunded, sum(e.expired) AS expired, sum(e.voided) AS voided,
                        sum(e.adjusted) AS adjusted, sum(e.shortfall) AS shortfall
                   FROM obol.entry_business e
                  WHERE e.created_at >= v_from AND e.created_at < v_to
                  GROUP BY e.begins_at) b ON b.begins_at = t.begins_at
     ORDER BY t.begins_at
    ON CONFLICT (begins_at) DO UPDATE
       SET is_final = excluded.is_final, total = excluded.total, granted = excluded.granted, charged = excluded.charged,
           refunded = excluded.refunded, expired = excluded.expired, voided = excluded.voided,
           adjusted = excluded.adjusted, shortfall = excluded.shortfall;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.roll_up_business() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.roll_up_business() TO obol_service;
