-- Notes that the ledger was checked since p_began_at, all of it or what was new, and how much disagreed: for whoever
-- looks at the service's health. Whoever may look may note: it is no act, and changes nothing else.
-- Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.note_verification(
    p_is_whole boolean,
    p_began_at timestamptz,
    p_finding_count bigint,
    p_token_digest bytea,
    p_request_id text
) RETURNS void
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'read');
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.verifications AS v (is_whole, began_at, ended_at, actor, finding_count)
    VALUES (p_is_whole, p_began_at, v_now, v_actor, p_finding_count)
    ON CONFLICT (is_whole) DO UPDATE
       SET began_at = excluded.began_at, ended_at = excluded.ended_at, actor = excluded.actor,
           finding_count = excluded.finding_count;
END
$$;

REVOKE ALL ON FUNCTION obol.note_verification(boolean, timestamptz, bigint, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.note_verification(boolean, timestamptz, bigint, bytea, text) TO obol_service;
