-- What this migration replaced, as the migrations before it had it.

-- The interface of the first version, for callers in SQL: takes the raw license key, deducts,
-- returns the new balance. The service does not use it (a raw key would show in
-- pg_stat_activity); it calls obol.deduct with the digest.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, INACTIVE_LICENSE, EXPIRED_LICENSE,
-- INSUFFICIENT_CREDITS; with an idempotency key, before INACTIVE_LICENSE: IDEMPOTENCY_KEY_REUSED,
-- ANSWER_GONE (it was refunded since).
CREATE OR REPLACE FUNCTION obol.deduct_credits(
    license_key text,
    amount bigint,
    reference text DEFAULT NULL,
    idempotency_key text DEFAULT NULL
) RETURNS bigint
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_license_id uuid := substring(license_key FROM '^obol_([0-9a-f]{32})_[0-9A-Za-z]+$');
    v_deduction_id uuid := gen_random_uuid();
    v_fingerprint bytea := sha256(convert_to(
        concat_ws(' ', 'deduct_credits', amount, reference), 'UTF8'));
    v_balance bigint;
BEGIN
    -- Another call can come between two statements of obol.deduct, which then raises 40001. The
    -- service asks again by itself; a caller in SQL knows four errors and should not meet a fifth.
    FOR attempt IN 1..10 LOOP
        BEGIN
            SELECT d.balance INTO v_balance
              FROM obol.deduct(v_license_id, sha256(convert_to(license_key, 'UTF8')), v_deduction_id,
                               amount, idempotency_key, v_fingerprint, reference) d;
            RETURN v_balance;
        EXCEPTION WHEN serialization_failure THEN
            NULL;
        END;
    END LOOP;
    RAISE EXCEPTION 'too many calls change this license at once: ask again' USING ERRCODE = '40001';
END
$$;

REVOKE ALL ON FUNCTION obol.deduct_credits(text, bigint, text, text) FROM PUBLIC;

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
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
