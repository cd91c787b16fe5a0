-- Makes a webhook signing secret of Stripe the one in force; those before it are good for p_overlap_s more. Only for
-- the owner: whoever has such a secret can make credits.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.set_stripe_secret(p_signing_secret bytea, p_overlap_s bigint)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(NULL, 'manage');
    v_now timestamptz := clock_timestamp();
    v_ends_at timestamptz := v_now + make_interval(secs => p_overlap_s);
    v_good bigint;
BEGIN
    DELETE FROM obol.stripe_secrets s WHERE s.expires_at <= v_now;
    UPDATE obol.stripe_secrets s SET expires_at = v_ends_at
     WHERE s.signing_secret <> p_signing_secret AND (s.expires_at IS NULL OR s.expires_at > v_ends_at);
    INSERT INTO obol.stripe_secrets (signing_secret, created_at)
    VALUES (p_signing_secret, v_now)
    ON CONFLICT (signing_secret) DO UPDATE SET expires_at = NULL;
    SELECT count(*) INTO v_good FROM obol.stripe_secrets s WHERE s.expires_at IS NULL OR s.expires_at > v_now;
    PERFORM obol.note_act(NULL, v_actor, 'set_stripe_secret', NULL, jsonb_build_object('overlap_s', p_overlap_s), NULL);
    RETURN v_good;
END
$$;

REVOKE ALL ON FUNCTION obol.set_stripe_secret(bytea, bigint) FROM PUBLIC;
