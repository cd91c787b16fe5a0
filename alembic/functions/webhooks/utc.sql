-- A time as events have it: UTC, with a Z, whatever the session's time zone is.
CREATE OR REPLACE FUNCTION obol.utc(p_moment timestamptz)
RETURNS text
LANGUAGE sql
IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_char(p_moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

REVOKE ALL ON FUNCTION obol.utc(timestamptz) FROM PUBLIC;
