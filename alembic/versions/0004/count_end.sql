-- Corrects what a hold counted in limits once it has ended, or was settled late: p_credits are added to the day and
-- the month that it was opened in, where those still run, and p_holds to the open holds. The caller has the lock
-- on the license.
CREATE OR REPLACE FUNCTION obol.count_end(p_hold obol.holds, p_credits bigint, p_holds integer)
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_day date := (p_hold.opened_at AT TIME ZONE 'UTC')::date;
    v_month date := date_trunc('month', p_hold.opened_at AT TIME ZONE 'UTC')::date;
BEGIN
    UPDATE obol.limit_states s
       SET open_holds = s.open_holds + p_holds,
           day_credits = s.day_credits + CASE WHEN s.day = v_day THEN p_credits ELSE 0 END,
           month_credits = s.month_credits + CASE WHEN s.month = v_month THEN p_credits ELSE 0 END
     WHERE s.license_id = p_hold.license_id AND s.subject_id = ANY (p_hold.limited_by);
END
$$;

REVOKE ALL ON FUNCTION obol.count_end(obol.holds, bigint, integer) FROM PUBLIC;
