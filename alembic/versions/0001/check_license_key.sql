-- Raises INVALID_LICENSE unless the digest belongs to a key of this license that is good now,
-- or was good at p_or_at (when a hold was opened: a service already given is paid for).
-- One message for every reason, so that nothing tells an unknown license from a wrong key.
CREATE OR REPLACE FUNCTION obol.check_license_key(
    p_license_id uuid,
    p_key_digest bytea,
    p_or_at timestamptz DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM FROM obol.license_key_validity k
      WHERE k.license_id = p_license_id
        AND k.key_digest = p_key_digest
        AND (k.valid_until > clock_timestamp()
             OR (k.valid_from <= p_or_at AND k.valid_until > p_or_at));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'INVALID_LICENSE: the license key is not valid'
            USING ERRCODE = 'OB403';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.check_license_key(uuid, bytea, timestamptz) FROM PUBLIC;
