-- Forgets about p_batch_size events that are over p_days days old, delivered or not, and what was to be delivered to
-- webhooks that are deleted. Returns how many events it forgot. The service's login may call this, so neither argument
-- can do harm. As in purge_expired, a batch is bounded by the time of its last row.
CREATE OR REPLACE FUNCTION obol.purge_events(p_batch_size integer DEFAULT 1000, p_days integer DEFAULT 30)
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_old timestamptz := clock_timestamp() - make_interval(days => LEAST(GREATEST(p_days, 30), 36500));
    v_batch_size integer := LEAST(GREATEST(p_batch_size, 1), 10000);
    v_bound timestamptz;
    v_deleted uuid[];
    v_count integer;
BEGIN
    SELECT max(o.created_at) INTO v_bound
      FROM (SELECT e.created_at FROM obol.events e WHERE e.created_at <= v_old
             ORDER BY e.created_at LIMIT v_batch_size) o;
    DELETE FROM obol.events e WHERE e.created_at <= v_bound;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    SELECT array_agg(w.webhook_id) INTO v_deleted FROM obol.webhooks w WHERE w.deleted_at IS NOT NULL;
    IF v_deleted IS NOT NULL THEN
        DELETE FROM obol.deliveries d WHERE d.webhook_id = ANY (v_deleted) AND d.state = 'waiting';
        DELETE FROM obol.delivery_queues q WHERE q.webhook_id = ANY (v_deleted);
    END IF;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.purge_events(integer, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.purge_events(integer, integer) TO obol_service;
