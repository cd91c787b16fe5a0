-- Whether the limits let a call through at p_now, and with how many credits: p_amount, or what a day or month
-- has left if that is at least p_min_amount. Looks and changes nothing, so only who has the lock on the license
-- can rely on it. p_model null: a call of no model. p_holds: 1 for a hold, 0 for a deduction.
-- Errors, in order: INACTIVE_LICENSE, EXPIRED_LICENSE, MODEL_NOT_ALLOWED, LIMIT_EXCEEDED; the key's limits first.
CREATE OR REPLACE FUNCTION obol.check_limits(
    p_license_id uuid,
    p_key_digest bytea,
    p_model text,
    p_amount bigint,
    p_min_amount bigint,
    p_holds integer,
    p_now timestamptz
) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_amount bigint := p_amount;
    v_limit record;
    v_needed bigint;
BEGIN
    PERFORM obol.check_active(p_license_id);
    FOR v_limit IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l
                    WHERE l.limits ? 'models' AND p_model IS NOT NULL LOOP
        PERFORM FROM jsonb_array_elements_text(v_limit.limits -> 'models') AS m (pattern)
          WHERE p_model = m.pattern
             OR (right(m.pattern, 1) = '*' AND starts_with(p_model, left(m.pattern, -1)));
        IF NOT FOUND THEN
            RAISE EXCEPTION 'MODEL_NOT_ALLOWED: the % may not use the model %', v_limit.limit_of, p_model
                USING ERRCODE = 'OB443',
                      DETAIL = jsonb_build_object('limit', 'models', 'limit_of', v_limit.limit_of,
                                                  'allowed', v_limit.limits -> 'models'),
                      HINT = 'Use a model that is allowed, or another key.';
        END IF;
    END LOOP;
    FOR v_limit IN SELECT l.* FROM obol.describe_limits(p_license_id, p_key_digest, p_now) l LOOP
        v_needed := CASE v_limit.limit_name WHEN 'requests_per_minute' THEN 1
                                            WHEN 'concurrent_holds' THEN p_holds
                                            ELSE p_min_amount END;
        IF v_limit.used + v_needed > v_limit.limit_value AND v_needed > 0 THEN
            RAISE EXCEPTION 'LIMIT_EXCEEDED: the limit % of the % is %, of which % are used and % more are needed',
                    v_limit.limit_name, v_limit.limit_of, v_limit.limit_value, v_limit.used, v_needed
                USING ERRCODE = 'OB429',
                      DETAIL = jsonb_build_object(
                          'limit', v_limit.limit_name, 'limit_of', v_limit.limit_of, 'limit_value', v_limit.limit_value,
                          'used', v_limit.used, 'retry_after_s', v_limit.retry_after_s),
                      HINT = CASE WHEN v_needed > v_limit.limit_value
                                  THEN 'It is more than the limit allows at all: ask for less, or have the limit raised.'
                                  ELSE format('Ask again in %s s.', v_limit.retry_after_s) END;
        END IF;
        IF v_limit.limit_name IN ('credits_per_day', 'credits_per_month') THEN
            v_amount := LEAST(v_amount, GREATEST(v_limit.limit_value - v_limit.used, 0));
        END IF;
    END LOOP;
    RETURN v_amount;
END
$$;

REVOKE ALL ON FUNCTION obol.check_limits(uuid, bytea, text, bigint, bigint, integer, timestamptz) FROM PUBLIC;
