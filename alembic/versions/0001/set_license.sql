-- Renames a license, renews it, or lets it end: null leaves the name or the expiry as it is, and
-- 'infinity' is no expiry. The same again changes nothing. A time that is past has to be allowed, so
-- that nobody is cut off by a slip; calls that run are finished and paid for all the same.
-- Errors, in order: INVALID_LICENSE (no such license), INVALID_AMOUNT (the time is past).
CREATE OR REPLACE FUNCTION obol.set_license(
    p_license_id uuid,
    p_name text,
    p_expires_at timestamptz,
    p_allow_past boolean
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.licenses l
       SET name = COALESCE(p_name, l.name),
           expires_at = NULLIF(COALESCE(p_expires_at, l.expires_at), 'infinity')
     WHERE l.license_id = p_license_id
       AND (p_allow_past OR p_expires_at IS NULL OR p_expires_at > v_now OR p_expires_at = l.expires_at);
    IF NOT FOUND THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or allow a past one: --allow-past.';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.set_license(uuid, text, timestamptz, boolean) FROM PUBLIC;
