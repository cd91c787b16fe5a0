-- Every package that is or was sold, by price. What is sold is no secret.
CREATE OR REPLACE FUNCTION obol.list_packages()
RETURNS TABLE (package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint,
               is_active boolean)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
      FROM obol.packages k
     ORDER BY k.currency, k.price, k.package_id
$$;

REVOKE ALL ON FUNCTION obol.list_packages() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_packages() TO obol_service;
