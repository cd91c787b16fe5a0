-- Sells packages, changes or ends them, all or none: a list of {"package_id", "terms"}, terms being {"name", "price",
-- "currency", "credits", "lifetime_days"}, or null for what is sold no more. Returns what changes, by id, each package
-- before (null: there was none) and after; with p_dry_run, what would, and writes nothing.
-- Errors, in order: ADMIN_FORBIDDEN (scope manage); then of the first of them, by id, PACKAGE_NOT_FOUND for what cannot
-- be ended, INVALID_AMOUNT.
CREATE OR REPLACE FUNCTION obol.set_packages(
    p_rows jsonb,
    p_dry_run boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (package_id text, before jsonb, after jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_row record;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'manage');
    -- In one order, so that two that come at once do not wait for each other.
    FOR v_row IN SELECT r.package_id, r.terms FROM jsonb_to_recordset(p_rows) AS r (package_id text, terms jsonb)
                  ORDER BY r.package_id LOOP
        package_id := v_row.package_id;
        SELECT jsonb_build_object('name', k.name, 'price', k.price, 'currency', k.currency, 'credits', k.credits,
                                  'lifetime_days', k.lifetime_days, 'is_active', k.is_active)
          INTO before FROM obol.packages k WHERE k.package_id = v_row.package_id;
        IF jsonb_typeof(v_row.terms) = 'object' THEN
            after := v_row.terms || '{"is_active": true}';
        ELSIF before IS NULL THEN
            RAISE EXCEPTION 'PACKAGE_NOT_FOUND: there is no package %', v_row.package_id USING ERRCODE = 'OB425';
        ELSE
            after := before || '{"is_active": false}';
        END IF;
        CONTINUE WHEN before = after;
        IF p_dry_run THEN
            NULL;
        ELSIF (after ->> 'is_active')::boolean THEN
            PERFORM obol.set_package(v_row.package_id, after ->> 'name', (after ->> 'price')::bigint, after ->> 'currency',
                                     (after ->> 'credits')::bigint, (after ->> 'lifetime_days')::bigint, p_token_digest,
                                     p_request_id);
        ELSE
            PERFORM obol.end_package(v_row.package_id, p_token_digest, p_request_id);
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

REVOKE ALL ON FUNCTION obol.set_packages(jsonb, boolean, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_packages(jsonb, boolean, bytea, text) TO obol_service;
