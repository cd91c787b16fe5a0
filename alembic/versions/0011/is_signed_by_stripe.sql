-- Whether a header `t=…,v1=…` is Stripe's signature of a payload, with a signing secret that is good now, and of the
-- last five minutes: an old event that somebody recorded is worth nothing. Stripe signs with the old secret too while
-- a new one comes into force, so there can be several signatures, and one is enough.
CREATE OR REPLACE FUNCTION obol.is_signed_by_stripe(p_payload bytea, p_signature text)
RETURNS boolean
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_tolerance_s constant bigint := 300;
    v_now timestamptz := clock_timestamp();
    v_signed_at text := substring(p_signature FROM '(?:^|,)t=([0-9]{1,12})(?:,|$)');
    v_secret bytea;
    v_expected bytea;
BEGIN
    IF p_payload IS NULL OR v_signed_at IS NULL
       OR abs(extract(epoch FROM v_now) - v_signed_at::bigint) > c_tolerance_s THEN
        RETURN false;
    END IF;
    FOR v_secret IN SELECT s.signing_secret FROM obol.stripe_secrets s
                     WHERE s.expires_at IS NULL OR s.expires_at > v_now LOOP
        v_expected := obol.hmac_sha256(v_secret, convert_to(v_signed_at || '.', 'UTF8') || p_payload);
        -- Digests of both are compared, so that the time it takes tells nothing of how much was right.
        PERFORM FROM regexp_matches(p_signature, '(?:^|,)v1=([0-9a-f]{64})(?=,|$)', 'g') AS m (said)
          WHERE sha256(decode(m.said[1], 'hex')) = sha256(v_expected);
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$$;

REVOKE ALL ON FUNCTION obol.is_signed_by_stripe(bytea, text) FROM PUBLIC;
