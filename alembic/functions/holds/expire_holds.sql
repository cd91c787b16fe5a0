-- As expire_holds_v2, for processes of releases before it, which do not say who they are: so it ends no hold of a
-- process whose lease is good, and orphans of their own stay held until they end.
CREATE OR REPLACE FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
BEGIN
    RETURN obol.expire_holds_v2(p_license_id, p_hold_ids, NULL);
END
$$;

REVOKE ALL ON FUNCTION obol.expire_holds(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.expire_holds(uuid, uuid[]) TO obol_service;
