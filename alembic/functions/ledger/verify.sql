-- The invariants of the ledger, a function a room: a row for each thing that disagrees, none when
-- all is well. All of them are STABLE, so that they read in the one snapshot of this statement.
CREATE OR REPLACE FUNCTION obol.verify()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.license_id, l.rule, l.detail FROM obol.verify_licenses() l
    UNION ALL
    SELECT e.license_id, e.rule, e.detail FROM obol.verify_ledger() e
    UNION ALL
    SELECT h.license_id, h.rule, h.detail FROM obol.verify_holds() h
    UNION ALL
    SELECT i.license_id, i.rule, i.detail FROM obol.verify_idempotency() i
    UNION ALL
    SELECT g.license_id, g.rule, g.detail FROM obol.verify_grants() g
    UNION ALL
    SELECT c.license_id, c.rule, c.detail FROM obol.verify_limits() c
    UNION ALL
    SELECT u.license_id, u.rule, u.detail FROM obol.verify_usage() u
    UNION ALL
    SELECT a.license_id, a.rule, a.detail FROM obol.verify_acts() a
    UNION ALL
    SELECT k.license_id, k.rule, k.detail FROM obol.verify_imported_keys() k
    UNION ALL
    SELECT n.license_id, n.rule, n.detail FROM obol.verify_events() n
    UNION ALL
    SELECT p.license_id, p.rule, p.detail FROM obol.verify_payments() p
    UNION ALL
    SELECT b.license_id, b.rule, b.detail FROM obol.verify_business() b
    UNION ALL
    SELECT o.license_id, o.rule, o.detail FROM obol.verify_archived() o
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
