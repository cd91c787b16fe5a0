-- The licenses that something was booked for since a time, or that have open holds, or had some that ended unpaid.
CREATE OR REPLACE FUNCTION obol.recent_licenses(p_since timestamptz)
RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT e.license_id FROM obol.ledger_entries e WHERE e.created_at >= p_since
        UNION
        SELECT h.license_id FROM obol.holds h WHERE h.state = 'held'
        UNION
        SELECT h.license_id FROM obol.holds h WHERE h.state IN ('released', 'expired') AND h.ended_at >= p_since;
END
$$;

REVOKE ALL ON FUNCTION obol.recent_licenses(timestamptz) FROM PUBLIC;
