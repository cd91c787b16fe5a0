-- Holds that an operator should look at, after (p_after_at, p_after_id), oldest first, at most p_limit; nulls:
-- from the oldest. p_state is
--   * held: open ones; amount is what is set aside, at is when they were opened;
--   * undelivered: charges whose answers may not have reached their clients, and no retry gets them: not
--     stored, or under a replay key that is not in p_key_ids; amount is the charge, at when it was made;
--   * unpaid: what clients got of answers that broke off, and nobody was charged for; at is when they did.
-- p_only is a license's id; null: of all licenses. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_holds(
    p_state text,
    p_only uuid,
    p_key_ids bytea[],
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, hold_id uuid, amount bigint, model text, at timestamptz, expires_at timestamptz,
                 is_stored boolean, unpaid jsonb)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT r.license_id, r.hold_id, r.amount, r.model, r.at, r.expires_at, r.is_stored, r.unpaid
          FROM (
            SELECT h.license_id, h.hold_id, h.amount, h.model, h.opened_at, h.expires_at, NULL::boolean, NULL::jsonb
              FROM obol.holds h WHERE p_state = 'held' AND h.state = 'held'
            UNION ALL
            SELECT u.license_id, u.hold_id, u.charge, u.model, u.settled_at, NULL, u.answer_key_id IS NOT NULL, NULL
              FROM obol.undelivered_charges u
             WHERE p_state = 'undelivered' AND (u.answer_key_id IS NULL OR u.answer_key_id <> ALL (p_key_ids))
            UNION ALL
            SELECT u.license_id, u.hold_id, NULL, u.model, u.ended_at, NULL, NULL,
                   jsonb_build_object('reason', u.reason, 'events', u.events, 'bytes', u.bytes, 'tokens', u.tokens)
              FROM obol.unpaid_holds u WHERE p_state = 'unpaid'
          ) AS r (license_id, hold_id, amount, model, at, expires_at, is_stored, unpaid)
         WHERE (p_only IS NULL OR r.license_id = p_only)
           AND (p_after_at IS NULL OR (r.at, r.hold_id) > (p_after_at, p_after_id))
         ORDER BY r.at, r.hold_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_holds(text, uuid, bytea[], timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_holds(text, uuid, bytea[], timestamptz, uuid, integer, bytea, text) TO obol_service;
