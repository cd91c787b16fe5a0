"""A clock that stands still until a test moves it. The functions are as they are, but for whom they ask what time it
is: so a test goes over midnight, or to the microsecond at which a limit lets a call through, without a row being
changed. The database is not to be used again afterwards."""

_INSTALL = r"""
CREATE SCHEMA moved;
CREATE TABLE moved.clock (at timestamptz NOT NULL);
INSERT INTO moved.clock VALUES (now());
CREATE FUNCTION moved.clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS 'BEGIN RETURN (SELECT c.at FROM moved.clock c); END';
GRANT USAGE ON SCHEMA moved TO PUBLIC;
DO $$
DECLARE
    c_clock constant text := '\m(clock_timestamp|statement_timestamp|now)\(\)';
    c_moved constant text := 'moved.clock_timestamp()';
    v_source text;
BEGIN
    FOR v_source IN SELECT pg_get_functiondef(p.oid) FROM pg_proc p
                     WHERE p.pronamespace = 'obol'::regnamespace AND p.prosrc ~ c_clock LOOP
        EXECUTE regexp_replace(v_source, c_clock, c_moved, 'g');
    END LOOP;
    FOR v_source IN SELECT format('CREATE OR REPLACE VIEW %s AS %s', c.oid::regclass, pg_get_viewdef(c.oid))
                      FROM pg_class c
                     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'v'
                       AND pg_get_viewdef(c.oid) ~ c_clock LOOP
        EXECUTE regexp_replace(v_source, c_clock, c_moved, 'g');
    END LOOP;
END
$$;
"""


class MovedClock:
    """The clock of a database.

    Args:
        sql: `sql(statement)`, as the owner, committed.
    """

    def __init__(self, sql):
        self._sql = sql
        sql(_INSTALL)

    def set(self, moment):
        self._sql(f"UPDATE moved.clock SET at = '{moment.isoformat()}'")
