-- Raises 40001: another call came between two statements of this one, whose writes are taken
-- back. The caller asks again with the same id, and then finds the rows settled down.
CREATE OR REPLACE FUNCTION obol.ask_again(p_what text)
RETURNS void
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE EXCEPTION '% meanwhile: ask again with the same id', p_what USING ERRCODE = '40001';
END
$$;

REVOKE ALL ON FUNCTION obol.ask_again(text) FROM PUBLIC;
