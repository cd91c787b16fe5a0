-- Sells a package from now on, or changes it; payments that were begun keep what they were begun with. The same again
-- changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN (scope manage), INVALID_AMOUNT.
CREATE OR REPLACE FUNCTION obol.set_package(
    p_package_id text,
    p_name text,
    p_price bigint,
    p_currency text,
    p_credits bigint,
    p_lifetime_days bigint,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint,
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
    IF p_price IS NULL OR p_price < 1 THEN
        PERFORM obol.refuse_amount('price', 1);
    ELSIF p_credits IS NULL OR p_credits < 1 THEN
        PERFORM obol.refuse_amount('credits', 1);
    ELSIF p_lifetime_days < 1 THEN
        PERFORM obol.refuse_amount('lifetime_days', 1);
    END IF;
    INSERT INTO obol.packages AS k
           (package_id, name, price, currency, credits, lifetime_days, is_active, changed_at)
    VALUES (p_package_id, p_name, p_price, p_currency, p_credits, p_lifetime_days, true, v_now)
    ON CONFLICT (package_id) DO UPDATE
       SET name = excluded.name, price = excluded.price, currency = excluded.currency, credits = excluded.credits,
           lifetime_days = excluded.lifetime_days, is_active = true, changed_at = excluded.changed_at
     WHERE (k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active)
           IS DISTINCT FROM (excluded.name, excluded.price, excluded.currency, excluded.credits, excluded.lifetime_days, true);
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'set_package', p_package_id,
                              jsonb_build_object('name', p_name, 'price', p_price, 'currency', p_currency,
                                                 'credits', p_credits, 'lifetime_days', p_lifetime_days),
                              p_request_id);
    END IF;
    RETURN QUERY SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
                   FROM obol.packages k WHERE k.package_id = p_package_id;
END
$$;

REVOKE ALL ON FUNCTION obol.set_package(text, text, bigint, text, bigint, bigint, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_package(text, text, bigint, text, bigint, bigint, bytea, text) TO obol_service;
