-- Counts a call in the limits of its key and its license, for a call that has the lock on the license: how many
-- credits it may use, as check_limits says, and the ids of the limited ones that it counts in.
-- Errors: those of check_limits. Whatever refuses the call later takes this back with it.
CREATE OR REPLACE FUNCTION obol.count_use(
    p_license_id uuid,
    p_key_digest bytea,
    p_model text,
    p_amount bigint,
    p_min_amount bigint,
    p_holds integer,
    p_now timestamptz
) RETURNS TABLE (amount bigint, limited_by uuid[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_amount bigint := obol.check_limits(p_license_id, p_key_digest, p_model, p_amount, p_min_amount, p_holds, p_now);
    v_day date := (p_now AT TIME ZONE 'UTC')::date;
    v_month date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
    v_subject record;
    v_call interval;
    v_limited_by uuid[];
BEGIN
    FOR v_subject IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l WHERE l.is_counted LOOP
        -- Null, and then no time passes, where calls are not limited.
        v_call := make_interval(
            secs => ceil(60000000.0 / (v_subject.limits ->> 'requests_per_minute')::bigint) / 1000000);
        INSERT INTO obol.limit_states AS s
               (license_id, subject_id, next_call_at, open_holds, day, day_credits, month, month_credits)
        VALUES (p_license_id, v_subject.subject_id, COALESCE(p_now + v_call, '-infinity'), p_holds,
                v_day, v_amount, v_month, v_amount)
        ON CONFLICT (license_id, subject_id) DO UPDATE
           SET next_call_at = COALESCE(GREATEST(s.next_call_at, p_now) + v_call, s.next_call_at),
               open_holds = s.open_holds + p_holds,
               day = v_day,
               day_credits = CASE WHEN s.day = v_day THEN s.day_credits ELSE 0 END + v_amount,
               month = v_month,
               month_credits = CASE WHEN s.month = v_month THEN s.month_credits ELSE 0 END + v_amount;
        v_limited_by := v_limited_by || v_subject.subject_id;
    END LOOP;
    RETURN QUERY SELECT v_amount, v_limited_by;
END
$$;

REVOKE ALL ON FUNCTION obol.count_use(uuid, bytea, text, bigint, bigint, integer, timestamptz) FROM PUBLIC;
