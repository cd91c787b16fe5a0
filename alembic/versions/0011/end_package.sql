-- Sells a package no more. Who began to pay for it gets it all the same. The same again changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN (scope manage), PACKAGE_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.end_package(p_package_id text, p_token_digest bytea, p_request_id text)
RETURNS TABLE (package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint,
               is_active boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.packages k SET is_active = false, changed_at = v_now
     WHERE k.package_id = p_package_id AND k.is_active;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'end_package', p_package_id, NULL, p_request_id);
    END IF;
    RETURN QUERY SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
                   FROM obol.packages k WHERE k.package_id = p_package_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'PACKAGE_NOT_FOUND: there is no package %', p_package_id USING ERRCODE = 'OB425';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.end_package(text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.end_package(text, bytea, text) TO obol_service;
