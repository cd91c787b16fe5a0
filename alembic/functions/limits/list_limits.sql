-- The limits that a call has to keep: of its key, then of its license; no row where there are none. is_counted:
-- one of them is of numbers, so that there is something to count. p_key_digest null: the license's alone.
CREATE OR REPLACE FUNCTION obol.list_limits(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (subject_id uuid, limit_of text, limits jsonb, is_counted boolean)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT k.key_id, 'key', k.limits, k.limits - 'models' <> '{}'
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.limits IS NOT NULL;
    RETURN QUERY
        SELECT l.license_id, 'license', l.limits, l.limits - 'models' <> '{}'
          FROM obol.licenses l
         WHERE l.license_id = p_license_id AND l.limits IS NOT NULL;
END
$$;

REVOKE ALL ON FUNCTION obol.list_limits(uuid, bytea) FROM PUBLIC;
