-- Every row of the price book, in no order. A function, because what a login reads through a view
-- needs rights on the tables below it where those are sharded.
CREATE OR REPLACE FUNCTION obol.list_prices()
RETURNS TABLE (model_pattern text, effective_from timestamptz, price jsonb)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.model_pattern, b.effective_from, b.price FROM obol.price_book b
$$;

REVOKE ALL ON FUNCTION obol.list_prices() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_prices() TO obol_service;
