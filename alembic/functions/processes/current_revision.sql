-- The migration that the database is at; null before the first one has ended.
CREATE OR REPLACE FUNCTION obol.current_revision()
RETURNS text
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT v.version_num FROM obol.alembic_version v
$$;

REVOKE ALL ON FUNCTION obol.current_revision() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.current_revision() TO obol_service;
