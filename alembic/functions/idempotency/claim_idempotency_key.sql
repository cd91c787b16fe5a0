-- Makes the idempotency key name p_cause_id. The caller holds the lock on the license row, so
-- this statement sees every key that was claimed before. A key in force that the caller's
-- guarded write could not see yet raises 40001: asked again, the call finds and replays it.
-- A key that was freed (its hold ended without a charge) is taken over.
CREATE OR REPLACE FUNCTION obol.claim_idempotency_key(
    p_license_id uuid,
    p_scope text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_cause_id uuid
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.idempotency_keys AS i
           (license_id, scope, idempotency_key, fingerprint, cause_id, claimed_at)
    VALUES (p_license_id, p_scope, p_idempotency_key, p_fingerprint, p_cause_id, v_now)
    ON CONFLICT (license_id, scope, idempotency_key) DO UPDATE
       SET fingerprint = excluded.fingerprint, cause_id = excluded.cause_id, in_force = true,
           answer = NULL, answer_expires_at = NULL, claimed_at = excluded.claimed_at
     WHERE NOT i.in_force;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the idempotency key was claimed');
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.claim_idempotency_key(uuid, text, text, bytea, uuid) FROM PUBLIC;
