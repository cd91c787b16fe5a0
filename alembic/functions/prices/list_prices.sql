-- Every row of the price book, in no order, and the time by which to tell what is in force: a caller's own
-- clock may be hours off. A function, because what a login reads through a view
-- needs rights on the tables below it where those are sharded.
CREATE OR REPLACE FUNCTION obol.list_prices()
RETURNS TABLE (model_pattern text, effective_from timestamptz, price jsonb, read_at timestamptz)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.model_pattern, b.effective_from, b.price, now() FROM obol.price_book b
$$;

REVOKE ALL ON FUNCTION obol.list_prices() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_prices() TO obol_service;
