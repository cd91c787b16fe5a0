-- How many deliveries of events wait, to webhooks that are not paused and for whatever reason.
CREATE OR REPLACE FUNCTION obol.count_waiting(p_with_email boolean)
RETURNS bigint
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT count(*) FROM obol.deliveries d JOIN obol.webhooks w ON w.webhook_id = d.webhook_id
             WHERE d.state = 'waiting' AND w.deleted_at IS NULL AND (w.kind = 'http' OR p_with_email));
END
$$;

REVOKE ALL ON FUNCTION obol.count_waiting(boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.count_waiting(boolean) TO obol_service;
