-- The number up to which the audit trail is complete, 0 when there is no act: numbers are taken before their acts are
-- committed, and below the highest that is seen there may be some to come. So this waits for the acts that are on their
-- way (5 s at most), and holds new ones up for that moment.
CREATE OR REPLACE FUNCTION obol.settle_acts()
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    LOCK TABLE obol.admin_acts IN SHARE MODE;
    RETURN COALESCE((SELECT max(a.act_no) FROM obol.admin_acts a), 0);
END
$$;

REVOKE ALL ON FUNCTION obol.settle_acts() FROM PUBLIC;
