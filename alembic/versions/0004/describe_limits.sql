-- What has been used at p_now of each limit of numbers that a call has to keep, in the order in which they refuse.
-- A call passes when used and what it needs (a call, a hold, its credits) are at most limit_value together.
-- requests_per_minute is GCRA: as many at once, and then one whenever the time of one has passed; used is how many
-- of those times are still to pass. retry_after_s is when one more call, or new credits, can pass; a hold: soon.
CREATE OR REPLACE FUNCTION obol.describe_limits(p_license_id uuid, p_key_digest bytea, p_now timestamptz)
RETURNS TABLE (limit_of text, limit_name text, limit_value bigint, used numeric, retry_after_s integer)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_utc timestamp := p_now AT TIME ZONE 'UTC';
    v_day date := v_utc::date;
    v_month date := date_trunc('month', v_utc)::date;
    v_subject record;
    v_state obol.limit_states;
    v_wait_us numeric;
    v_call_us numeric;
BEGIN
    FOR v_subject IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l WHERE l.is_counted LOOP
        SELECT s.* INTO v_state FROM obol.limit_states s
         WHERE s.license_id = p_license_id AND s.subject_id = v_subject.subject_id;
        v_call_us := ceil(60000000.0 / (v_subject.limits ->> 'requests_per_minute')::bigint);
        v_wait_us := extract(epoch FROM GREATEST(v_state.next_call_at, p_now) - p_now) * 1000000;
        RETURN QUERY
            SELECT v_subject.limit_of, w.limit_name, (v_subject.limits ->> w.limit_name)::bigint, w.used,
                   GREATEST(1, ceil(w.wait_s))::integer
              FROM (VALUES
                  ('requests_per_minute', ceil(v_wait_us / v_call_us),
                   (v_wait_us - ((v_subject.limits ->> 'requests_per_minute')::bigint - 1) * v_call_us) / 1000000),
                  ('concurrent_holds', COALESCE(v_state.open_holds, 0), 1),
                  ('credits_per_day', CASE WHEN v_state.day = v_day THEN v_state.day_credits ELSE 0 END,
                   extract(epoch FROM v_day + interval '1 day' - v_utc)),
                  ('credits_per_month', CASE WHEN v_state.month = v_month THEN v_state.month_credits ELSE 0 END,
                   extract(epoch FROM v_month + interval '1 month' - v_utc))
              ) AS w (limit_name, used, wait_s)
             WHERE v_subject.limits ? w.limit_name;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.describe_limits(uuid, bytea, timestamptz) FROM PUBLIC;
