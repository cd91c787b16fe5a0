-- The interface of the first version, for callers in SQL: takes the raw license key, one of ours or
-- an imported one, deducts, returns the new balance. The service does not use it (a raw key would show in
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
    v_key_digest bytea := sha256(convert_to(license_key, 'UTF8'));
    -- An imported key does not name its license.
    v_license_id uuid := COALESCE(substring(license_key FROM '^obol_([0-9a-f]{32})_[0-9A-Za-z]+$')::uuid,
                                  (SELECT i.license_id FROM obol.imported_keys i WHERE i.key_digest = v_key_digest));
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
              FROM obol.deduct(v_license_id, v_key_digest, v_deduction_id,
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
