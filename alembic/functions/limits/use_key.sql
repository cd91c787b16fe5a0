-- The use of a key by a call that has the lock on its license: whether the key is good under the lock, whether the
-- limits let the call through, and with how many credits (count_use has the arguments and the errors). Where neither
-- the key nor the license (p_limits) has limits it reads the row of the key and nothing else.
-- p_is_of_key: false for an operator, who is only known by a token: the key's limits do not count then, and no
-- key_id is told.
-- The time of the use is noted to the hour: one write of a key an hour, and none a call. It is noted here, and not by a
-- heartbeat, because here the row has been read and its license is locked, and a killed process forgets nothing.
-- Errors: INVALID_LICENSE, and those of check_limits.
CREATE OR REPLACE FUNCTION obol.use_key(
    p_license_id uuid,
    p_key_digest bytea,
    p_is_of_key boolean,
    p_limits jsonb,
    p_model text,
    p_amount bigint,
    p_min_amount bigint,
    p_holds integer
) RETURNS TABLE (key_id uuid, amount bigint, limited_by uuid[], used_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_key_id uuid;
    v_is_limited boolean;
    v_last_used_at timestamptz;
BEGIN
    SELECT CASE WHEN p_is_of_key THEN k.key_id END, k.is_limited, k.last_used_at
      INTO v_key_id, v_is_limited, v_last_used_at
      FROM obol.license_key_validity k
     WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.valid_until > v_now;
    IF NOT FOUND THEN
        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        PERFORM obol.ask_again('the key changed');
    END IF;
    IF p_is_of_key AND (v_last_used_at > v_now - interval '1 hour') IS NOT TRUE THEN
        UPDATE obol.license_keys k
           SET last_used_at = v_now
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    END IF;
    IF p_limits IS NOT NULL OR (v_is_limited AND p_is_of_key) THEN
        RETURN QUERY SELECT v_key_id, c.amount, c.limited_by, v_now
                       FROM obol.count_use(p_license_id, CASE WHEN p_is_of_key THEN p_key_digest END, p_model, p_amount,
                                           p_min_amount, p_holds, v_now) c;
    ELSE
        RETURN QUERY SELECT v_key_id, p_amount, NULL::uuid[], v_now;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.use_key(uuid, bytea, boolean, jsonb, text, bigint, bigint, integer) FROM PUBLIC;
