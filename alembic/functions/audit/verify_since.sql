-- As verify, of what was booked since a time and what is open now, and trusting what was before: cheap enough for each
-- minute, whatever the size of the ledger. All of it in the one snapshot of the caller's statement. What it cannot see
-- is in docs/operating.md; verify sees that.
CREATE OR REPLACE FUNCTION obol.verify_since(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT l.license_id, l.rule, l.detail FROM obol.verify_recent_licenses(p_since) l;
    RETURN QUERY SELECT e.license_id, e.rule, e.detail FROM obol.verify_recent_ledger(p_since) e;
    RETURN QUERY SELECT h.license_id, h.rule, h.detail FROM obol.verify_recent_holds(p_since) h;
    RETURN QUERY SELECT g.license_id, g.rule, g.detail FROM obol.verify_recent_grants(p_since) g;
    RETURN QUERY SELECT a.license_id, a.rule, a.detail FROM obol.verify_recent_acts(p_since) a;
END
$$;

REVOKE ALL ON FUNCTION obol.verify_since(timestamptz) FROM PUBLIC;
