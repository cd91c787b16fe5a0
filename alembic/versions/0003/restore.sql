-- What this migration replaced, as the migrations before it had it.

-- Corrects a balance: p_amount, above zero or below, with the reason for it. What is held is not
-- touched. Once per adjustment id, and once per idempotency key, as in grant_credits.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE (no such license), IDEMPOTENCY_KEY_REUSED,
-- INSUFFICIENT_CREDITS; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.adjust_credits(
    p_license_id uuid,
    p_adjustment_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reason text
) RETURNS TABLE (adjustment_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_most constant bigint := 9223372036854775807;
    v_key obol.idempotency_keys;
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    IF p_amount IS NULL OR p_amount = 0 OR p_amount < -c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: amount must be from -% to %, and not 0', c_most, c_most
            USING ERRCODE = 'OB400';
    END IF;

    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1
     WHERE l.license_id = p_license_id
       AND (p_amount < 0 OR l.balance <= c_most - p_amount)
       AND (p_amount > 0 OR l.balance - l.held >= -p_amount)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = p_license_id AND e.kind = 'adjustment'
                          AND e.cause_id = p_adjustment_id)
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = p_license_id AND i.scope = 'operator'
                          AND i.idempotency_key = p_idempotency_key AND i.in_force)
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;

    IF NOT FOUND THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
        v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'adjustment'
           AND e.cause_id = COALESCE(v_key.cause_id, p_adjustment_id);
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT l.balance, l.balance - l.held INTO v_balance, v_available
          FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF p_amount > 0 AND v_balance > c_most - p_amount THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the balance would pass % credits', c_most
                USING ERRCODE = 'OB400';
        ELSIF p_amount < 0 AND v_available < -p_amount THEN
            RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are to be taken and % are available',
                    -p_amount, v_available
                USING ERRCODE = 'OB402',
                      DETAIL = json_build_object('required', -p_amount, 'available', v_available),
                      HINT = 'Take less. What is held is for calls that run.';
        END IF;
        PERFORM obol.ask_again('the license changed');
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint,
                                           p_adjustment_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'adjustment', p_amount, v_balance,
                            p_adjustment_id, p_reason);
    RETURN QUERY SELECT p_adjustment_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.adjust_credits(uuid, uuid, bigint, text, bytea, text) FROM PUBLIC;

-- Everything that open_hold checks but the credits, and nothing is set aside: for a call whose
-- size has to be found out first, at the upstream. outcome: 'replayed' as in open_hold, or
-- 'checked' with what is available.
-- Errors: those of open_hold, in its order, but INSUFFICIENT_CREDITS.
CREATE OR REPLACE FUNCTION obol.check_admission(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_model text,
    p_price jsonb,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_max_unpaid_tokens bigint
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id, p_idempotency_key, p_fingerprint) r;
    IF FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY SELECT 'checked', NULL::uuid, NULL::bigint, NULL::text, NULL::timestamptz,
                        obol.admissible_amount(p_license_id, 0, NULL, p_model, p_price IS NOT NULL,
                                               p_max_unpaid_tokens),
                        NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

REVOKE ALL ON FUNCTION obol.check_admission(uuid, bytea, uuid, text, jsonb, text, bytea, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.check_admission(uuid, bytea, uuid, text, jsonb, text, bytea, bigint) TO obol_service;

-- Makes a license with one key and, if p_credits is above 0, a first grant, which needs the scope for grants
-- too: or a token that may only manage licenses would make credits. Once per license id; the caller derives
-- the id from the idempotency key when there is one. "created" says whether the key of this digest opens it:
-- false when an earlier call made it with another key, which was shown then and is nowhere stored.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT, IDEMPOTENCY_KEY_REUSED, ALREADY_EXISTS (another license
-- has the external id).
CREATE OR REPLACE FUNCTION obol.create_license_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_name text,
    p_expires_at timestamptz,
    p_credits bigint,
    p_external_id text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, balance bigint, created boolean)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    ELSIF p_credits > 0 THEN
        PERFORM obol.check_token(p_token_digest, 'grant');
    END IF;

    INSERT INTO obol.licenses (license_id, name, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_expires_at, p_fingerprint, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO obol.license_keys (license_id, key_digest, created_at)
        VALUES (p_license_id, p_key_digest, clock_timestamp());
        IF p_external_id IS NOT NULL THEN
            INSERT INTO obol.external_ids (external_id, license_id)
            VALUES (p_external_id, p_license_id)
            ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'ALREADY_EXISTS: another license has the external id %', p_external_id
                    USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'external_id'),
                          HINT = 'Look that license up by it, or use another one.';
            END IF;
        END IF;
        IF p_credits > 0 THEN
            PERFORM obol.grant_credits(p_license_id, p_license_id, p_credits, NULL, NULL, 'opening grant');
        END IF;
        PERFORM obol.note_act(p_license_id, v_actor, 'create_license', NULL, jsonb_build_object(
            'name', p_name, 'credits', p_credits, 'expires_at', p_expires_at, 'external_id', p_external_id), p_request_id);
    ELSE
        PERFORM FROM obol.licenses l
          WHERE l.license_id = p_license_id AND l.fingerprint = p_fingerprint;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key made a license with other values'
                USING ERRCODE = 'OB422', HINT = 'Use a new key for a new license.';
        END IF;
    END IF;
    RETURN QUERY
        SELECT l.license_id, l.balance,
               EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest)
          FROM obol.licenses l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.create_license_v2(uuid, bytea, text, timestamptz, bigint, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.create_license_v2(uuid, bytea, text, timestamptz, bigint, text, bytea, bytea, text) TO obol_service;

-- Hold and settle in one step. One call a deduction id: asked again with the same id, or with
-- the same idempotency key and fingerprint, it gives the first result and charges nothing.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, IDEMPOTENCY_KEY_REUSED, ANSWER_GONE (it was
-- refunded since), and those of admissible_amount; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.deduct(
    p_license_id uuid,
    p_key_digest bytea,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_key obol.idempotency_keys;
    v_balance bigint;
    v_entry_no bigint;
    v_expires_at timestamptz;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    -- The guarded write takes the row's lock. Its subqueries may see a snapshot from before a
    -- lock wait, so they only save work: what decides are the inserts below.
    UPDATE obol.licenses l
       SET balance = l.balance - p_amount, entry_count = l.entry_count + 1
     WHERE l.license_id = p_license_id
       AND l.status = 'active'
       AND (l.expires_at IS NULL OR l.expires_at > v_now)
       AND l.balance - l.held >= p_amount
       AND EXISTS (SELECT FROM obol.license_key_validity k
                    WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                      AND k.valid_until > v_now)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = p_license_id AND e.kind = 'deduction'
                          AND e.cause_id = p_deduction_id)
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = p_license_id AND i.scope = 'license'
                          AND i.idempotency_key = p_idempotency_key AND i.in_force)
    RETURNING l.balance, l.entry_count, l.expires_at INTO v_balance, v_entry_no, v_expires_at;

    IF NOT FOUND THEN
        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, -e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'deduction'
           AND e.cause_id = COALESCE(v_key.cause_id, p_deduction_id);
        IF FOUND THEN
            PERFORM FROM obol.ledger_entries r
              WHERE r.license_id = p_license_id AND r.kind = 'refund'
                AND r.cause_id = COALESCE(v_key.cause_id, p_deduction_id);
            IF FOUND THEN
                RAISE EXCEPTION 'ANSWER_GONE: this deduction was refunded'
                    USING ERRCODE = 'OB410', HINT = 'Nothing was charged now. Use a new key for a new deduction.';
            END IF;
            RETURN;
        END IF;
        PERFORM obol.admissible_amount(p_license_id, p_amount, p_amount, NULL, true, NULL);
    END IF;

    -- The lock is ours, and v_now may be from before a wait for it: the key or the license may
    -- have ended since.
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    IF v_expires_at <= clock_timestamp() THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_deduction_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'deduction', -p_amount, v_balance,
                            p_deduction_id, p_reference);
    RETURN QUERY SELECT p_deduction_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.deduct(uuid, bytea, uuid, bigint, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct(uuid, bytea, uuid, bigint, text, bytea, text) TO obol_service;

-- The license that a key opens, whatever its state: a suspended or expired license may still
-- read its own balance. Errors: INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.find_license(p_license_id uuid, p_key_digest bytea)
RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz,
               balance bigint, held bigint, available bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at,
                        l.balance, l.held, l.available
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.find_license(uuid, bytea) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.find_license(uuid, bytea) TO obol_service;

-- Gives credits. Once per grant id, and once per idempotency key (the operator's own scope, so
-- that no client's key can stand in its way): the same again gives the first result.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE (no such license), IDEMPOTENCY_KEY_REUSED;
-- 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.grant_credits(
    p_license_id uuid,
    p_grant_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text
) RETURNS TABLE (grant_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    c_most constant bigint := 9223372036854775807;
    v_key obol.idempotency_keys;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1
     WHERE l.license_id = p_license_id
       AND l.balance <= c_most - p_amount
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = p_license_id AND e.kind = 'grant'
                          AND e.cause_id = p_grant_id)
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = p_license_id AND i.scope = 'operator'
                          AND i.idempotency_key = p_idempotency_key AND i.in_force)
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;

    IF NOT FOUND THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
        v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'grant'
           AND e.cause_id = COALESCE(v_key.cause_id, p_grant_id);
        IF FOUND THEN
            RETURN;
        END IF;
        PERFORM FROM obol.licenses l
          WHERE l.license_id = p_license_id AND l.balance > c_most - p_amount;
        IF FOUND THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the balance would pass % credits', c_most
                USING ERRCODE = 'OB400';
        END IF;
        PERFORM obol.ask_again('the license changed');
    END IF;

    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, p_grant_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'grant', p_amount, v_balance,
                            p_grant_id, p_reference);
    RETURN QUERY SELECT p_grant_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.grant_credits(uuid, uuid, bigint, text, bytea, text) FROM PUBLIC;

-- Admission: sets p_amount credits aside, or what is available if that is at least
-- p_min_amount. A process's hold (p_process_id) lives as long as its process's lease; a
-- client's hold (no process) until p_expires_in_s have passed.
-- outcome: 'opened', or 'replayed' when the idempotency key already names a client's hold or
-- a settled hold whose answer is stored; state is then the hold's as it is by now. Asked again with
-- the same hold id, it gives the hold. p_max_unpaid_tokens: see admissible_amount.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, HOLD_NOT_OPEN (this id has ended),
-- IDEMPOTENCY_KEY_REUSED, IDEMPOTENCY_IN_PROGRESS, ANSWER_GONE, and those of admissible_amount;
-- 40001: ask again with the same id.
CREATE OR REPLACE FUNCTION obol.open_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_amount bigint,
    p_min_amount bigint,
    p_expires_in_s integer,
    p_model text,
    p_price jsonb,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_max_unpaid_tokens bigint
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_is_priced boolean := p_process_id IS NULL OR p_price IS NOT NULL;
    v_amount bigint := p_amount;
    v_available bigint;
    v_license_expires_at timestamptz;
    v_expires_at timestamptz;
BEGIN
    -- A free model makes a process's hold of nothing; a client has no use for one.
    IF p_amount IS NULL OR p_amount < 0 OR (p_amount = 0 AND p_process_id IS NULL) THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    LOOP
        UPDATE obol.licenses l
           SET held = l.held + v_amount
         WHERE l.license_id = p_license_id
           AND l.status = 'active'
           AND (l.expires_at IS NULL OR l.expires_at > v_now)
           AND l.balance - l.held >= v_amount
           AND v_is_priced
           AND (p_max_unpaid_tokens IS NULL OR l.unpaid_tokens < p_max_unpaid_tokens OR l.unpaid_until <= v_now)
           AND EXISTS (SELECT FROM obol.license_key_validity k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                          AND k.valid_until > v_now)
           AND NOT EXISTS (SELECT FROM obol.holds h
                            WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id)
           AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                            WHERE i.license_id = p_license_id AND i.scope = 'license'
                              AND i.idempotency_key = p_idempotency_key AND i.in_force)
        RETURNING l.balance - l.held, l.expires_at INTO v_available, v_license_expires_at;
        EXIT WHEN FOUND;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id,
                                                      p_idempotency_key, p_fingerprint) r;
        IF FOUND THEN
            RETURN;
        END IF;
        v_amount := obol.admissible_amount(p_license_id, p_min_amount, v_amount, p_model, v_is_priced,
                                           p_max_unpaid_tokens);
    END LOOP;

    -- The lock is ours, and v_now may be from before a wait for it: the key or the license may
    -- have ended since.
    v_now := clock_timestamp();
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    IF v_license_expires_at <= v_now THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    v_expires_at := CASE WHEN p_process_id IS NULL THEN v_now + make_interval(secs => p_expires_in_s) END;
    INSERT INTO obol.holds (license_id, hold_id, amount, process_id, expires_at, model, price,
                            idempotency_key, reference, available_after, opened_at)
    VALUES (p_license_id, p_hold_id, v_amount, p_process_id, v_expires_at, p_model, p_price,
            p_idempotency_key, p_reference, v_available, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the hold was opened');
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_hold_id);
    END IF;
    RETURN QUERY SELECT 'opened', p_hold_id, v_amount, 'held', v_expires_at, v_available,
                        NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

REVOKE ALL ON FUNCTION obol.open_hold(uuid, bytea, uuid, uuid, bigint, bigint, integer, text, jsonb, text, bytea, text, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.open_hold(uuid, bytea, uuid, uuid, bigint, bigint, integer, text, jsonb, text, bytea, text, bigint) TO obol_service;

-- Gives back what a charge or a deduction took, whole and once: the same again gives the
-- first result. p_withheld is the case of refund_withheld, an answer that was charged for and
-- not delivered: nothing is refunded while the answer is stored for a retry with its
-- idempotency key, and otherwise the key is freed for a clean new try.
-- Returns no row when there was nothing to refund. Errors: HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.refund(
    p_license_id uuid,
    p_cause_id uuid,
    p_reference text,
    p_withheld boolean DEFAULT false
) RETURNS TABLE (amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    -- From before a wait for the lock, at worst, and not looked at again: an answer whose time is
    -- up meanwhile counts as stored, and obol.undelivered_holds then lists its charge.
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_amount bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    UPDATE obol.licenses l
       SET balance = l.balance - e.amount, entry_count = l.entry_count + 1
      FROM obol.ledger_entries e
     WHERE l.license_id = p_license_id
       AND e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id)
       AND NOT (p_withheld AND EXISTS (
               SELECT FROM obol.idempotency_keys i
                WHERE i.license_id = p_license_id AND i.cause_id = p_cause_id
                  AND i.answer IS NOT NULL AND i.answer_expires_at > v_now))
    RETURNING -e.amount, l.balance, l.entry_count INTO v_amount, v_balance, v_entry_no;

    IF FOUND THEN
        PERFORM obol.book_entry(p_license_id, v_entry_no, 'refund', v_amount, v_balance,
                                p_cause_id, p_reference);
        IF p_withheld THEN
            SELECT h.* INTO v_hold FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = p_cause_id;
            PERFORM obol.free_idempotency_key(v_hold);
        END IF;
        RETURN QUERY SELECT v_amount, v_balance;
        RETURN;
    END IF;

    RETURN QUERY SELECT e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'refund' AND e.cause_id = p_cause_id;
    IF NOT FOUND AND NOT p_withheld THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.refund(uuid, uuid, text, boolean) FROM PUBLIC;

-- What open_hold already did for this hold id or this idempotency key: one row in open_hold's
-- shape, or none when there is nothing to replay. It runs before the license's state is
-- looked at: a license that has expired since still gets the answer that it paid for.
CREATE OR REPLACE FUNCTION obol.replay_hold(
    p_license_id uuid,
    p_hold_id uuid,
    p_idempotency_key text,
    p_fingerprint bytea
) RETURNS TABLE (outcome text, hold_id uuid, amount bigint, state text, expires_at timestamptz,
                 available bigint, charge bigint, balance bigint, answer bytea)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    v_hold obol.holds;
    v_key obol.idempotency_keys;
BEGIN
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id;
    IF FOUND THEN
        IF v_hold.state <> 'held' OR v_hold.expires_at <= clock_timestamp() THEN
            PERFORM obol.refuse_hold(v_hold, 0);
        END IF;
        RETURN QUERY SELECT 'opened', v_hold.hold_id, v_hold.amount, v_hold.state, v_hold.expires_at,
                            v_hold.available_after, NULL::bigint, NULL::bigint, NULL::bytea;
        RETURN;
    END IF;

    v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
    IF v_key.cause_id IS NULL THEN
        RETURN;
    END IF;
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = v_key.cause_id;
    IF v_hold.process_id IS NOT NULL AND v_hold.state = 'held' THEN
        RAISE EXCEPTION 'IDEMPOTENCY_IN_PROGRESS: the first call with this idempotency key is still running'
            USING ERRCODE = 'OB419', HINT = 'Ask again in a moment.';
    END IF;
    IF v_hold.process_id IS NOT NULL AND v_hold.state = 'settled' AND (
           v_key.answer IS NULL OR v_key.answer_expires_at <= clock_timestamp()
           OR EXISTS (SELECT FROM obol.ledger_entries e
                       WHERE e.license_id = p_license_id AND e.kind = 'refund'
                         AND e.cause_id = v_hold.hold_id)) THEN
        RAISE EXCEPTION 'ANSWER_GONE: the answer to this idempotency key is no longer stored'
            USING ERRCODE = 'OB410', HINT = 'Nothing was charged now. Use a new key for a new answer.';
    END IF;
    -- A process's hold that is neither was freed between the two reads: let the caller go on.
    RETURN QUERY
        SELECT 'replayed', v_hold.hold_id, v_hold.amount,
               CASE WHEN v_hold.state = 'held' AND v_hold.expires_at <= clock_timestamp() THEN 'expired'
                    ELSE v_hold.state END,
               v_hold.expires_at, v_hold.available_after, -e.amount, e.balance_after, v_key.answer
          FROM (VALUES (1)) one
          LEFT JOIN obol.ledger_entries e
                 ON e.license_id = p_license_id AND e.kind = 'charge' AND e.cause_id = v_hold.hold_id
         WHERE v_hold.process_id IS NULL OR v_hold.state = 'settled';
END
$$;

REVOKE ALL ON FUNCTION obol.replay_hold(uuid, uuid, text, bytea) FROM PUBLIC;

-- Ends a hold at what was used: charges p_amount, gives the rest of the hold back, books the
-- entry and stores the answer, in one transaction. The same call again gives the same result.
-- p_process_id says whose hold it is: null for a client's. Only a process's hold may
--   * be charged more than was held (usage beyond the bound): the rest comes out of what is
--     available, as far as p_max_credits (what the client pays at most; null: whatever it costs),
--     and what is still missing is booked as shortfall;
--   * be settled after it expired (the process was stopped and woke up): once, if the credits
--     are there, and only while its idempotency key still names it.
-- Errors, in order: INVALID_AMOUNT, INVALID_LICENSE, HOLD_NOT_FOUND, HOLD_NOT_OPEN,
-- SETTLE_EXCEEDS_HOLD; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.settle_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_amount bigint,
    p_usage jsonb,
    p_answer bytea,
    p_answer_ttl_s integer,
    p_max_credits bigint
) RETURNS TABLE (charge bigint, shortfall bigint, balance bigint, amount bigint, expires_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_from text := 'held';
    v_charge bigint := LEAST(p_amount, p_max_credits);
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    IF p_amount IS NULL OR p_amount < 0 THEN
        PERFORM obol.refuse_amount('amount', 0);
    END IF;

    -- The hold that is joined may be stale after a lock wait: book_charge's guarded update of
    -- the hold decides, and takes this one back with it. The guard on held is for the same case:
    -- a twin that has ended the hold meanwhile must lead to its result, not to a failed CHECK.
    UPDATE obol.licenses l
       SET balance = l.balance - p_amount, held = l.held - h.amount, entry_count = l.entry_count + 1
      FROM obol.holds h
     WHERE l.license_id = p_license_id
       AND h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
       AND h.process_id IS NOT DISTINCT FROM p_process_id
       AND (h.expires_at IS NULL OR h.expires_at > v_now)
       AND h.amount >= p_amount AND l.held >= h.amount AND (p_max_credits IS NULL OR p_max_credits >= p_amount)
       AND EXISTS (SELECT FROM obol.license_key_validity k
                    WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                      AND (k.valid_until > v_now
                           OR (k.valid_from <= h.opened_at AND k.valid_until > h.opened_at)))
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;

    -- Also the check of the key, as of now, and the time of the hold as it is under the lock:
    -- v_now may be from before a wait for it.
    v_hold := obol.find_hold(p_license_id, p_key_digest, p_hold_id, p_process_id);
    IF v_balance IS NOT NULL AND v_hold.state = 'held' AND v_hold.expires_at <= clock_timestamp() THEN
        PERFORM obol.refuse_hold(v_hold, p_amount);
    END IF;
    IF v_balance IS NULL AND v_hold.state = 'settled' THEN
        RETURN QUERY SELECT -e.amount, e.shortfall, e.balance_after, v_hold.amount, v_hold.expires_at
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'charge' AND e.cause_id = p_hold_id
           AND e.shortfall - e.amount = p_amount;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    IF v_balance IS NULL AND p_process_id IS NOT NULL AND v_hold.state = 'expired' THEN
        v_from := 'expired';
        UPDATE obol.licenses l
           SET balance = l.balance - v_charge, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id AND l.balance - l.held >= v_charge
        RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
    ELSIF v_balance IS NULL AND p_process_id IS NOT NULL AND v_hold.state = 'held' AND v_hold.amount < p_amount THEN
        SELECT l.balance - l.held INTO v_available
          FROM obol.licenses l WHERE l.license_id = p_license_id;
        v_charge := LEAST(p_amount, p_max_credits, v_hold.amount + v_available);
        UPDATE obol.licenses l
           SET balance = l.balance - v_charge, held = l.held - v_hold.amount, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id AND l.balance - l.held = v_available AND l.held >= v_hold.amount
        RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
    END IF;
    IF v_balance IS NULL THEN
        PERFORM obol.refuse_hold(v_hold, p_amount);
    END IF;

    PERFORM obol.book_charge(v_hold, v_from, v_charge, p_amount - v_charge, v_entry_no, v_balance,
                             p_usage, p_answer, p_answer_ttl_s);
    RETURN QUERY SELECT v_charge, p_amount - v_charge, v_balance, v_hold.amount, v_hold.expires_at;
END
$$;

REVOKE ALL ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer, bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer, bigint) TO obol_service;

-- One license, by id. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
               available bigint, external_id text, created_at timestamptz)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.show_license(uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_license(uuid, bytea, text) TO obol_service;

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
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;

-- What the idempotency keys say of what they name: see verify.
CREATE OR REPLACE FUNCTION obol.verify_idempotency()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.license_id, 'an idempotency key in force names what it did',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.in_force
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND (h.process_id IS NULL OR h.state IN ('held', 'settled')))
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.cause_id = i.cause_id
                          AND e.kind IN ('deduction', 'grant', 'adjustment'))
    UNION ALL
    SELECT i.license_id, 'a freed idempotency key names nothing that was charged',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
      JOIN obol.ledger_entries e ON e.license_id = i.license_id AND e.cause_id = i.cause_id
     WHERE NOT i.in_force AND e.kind IN ('charge', 'deduction', 'grant', 'adjustment')
       -- An answer that was withheld: its charge was given back, and its key freed for a new try.
       AND NOT (e.kind = 'charge'
                AND EXISTS (SELECT FROM obol.ledger_entries r
                             WHERE r.license_id = i.license_id AND r.cause_id = i.cause_id AND r.kind = 'refund'))
    UNION ALL
    -- Where the key is gone or stands for something else, a retry pays again. Only a process's hold that
    -- ended without a charge lets go of its key.
    SELECT h.license_id, 'a keyed hold has its key for thirty days',
           format('hold %s is %s, and its key names %s', h.hold_id, h.state, COALESCE(i.cause_id::text, 'nothing'))
      FROM obol.holds h
      LEFT JOIN obol.idempotency_keys i
             ON i.license_id = h.license_id AND i.scope = 'license' AND i.idempotency_key = h.idempotency_key
     WHERE h.idempotency_key IS NOT NULL
       AND (h.process_id IS NULL OR h.state IN ('held', 'settled'))
       -- A day less than keys live at least: purge_expired may have looked at the clock after this did.
       AND h.opened_at > now() - interval '29 days'
       AND (i.cause_id IS NULL
            OR (h.state = 'held' AND NOT i.in_force)
            -- As above: a new try may have taken the key of an answer that was withheld and paid back.
            OR (i.cause_id <> h.hold_id
                AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                                 WHERE r.license_id = h.license_id AND r.cause_id = h.hold_id AND r.kind = 'refund')))
    UNION ALL
    SELECT i.license_id, 'a stored answer is of a settled hold',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.answer IS NOT NULL
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.process_id IS NOT NULL AND h.state = 'settled')
$$;

REVOKE ALL ON FUNCTION obol.verify_idempotency() FROM PUBLIC;

-- What the entries say of each other, of their prices and of their holds: see verify.
-- NOT MATERIALIZED: on a sharded database what is materialized is read in a snapshot of its own.
CREATE OR REPLACE FUNCTION obol.verify_ledger()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH chain AS NOT MATERIALIZED (
        SELECT e.*,
               lag(e.entry_no, 1, 0::bigint) OVER w AS entry_no_before,
               lag(e.balance_after, 1, 0::bigint) OVER w AS balance_before
          FROM obol.ledger_entries e
        WINDOW w AS (PARTITION BY e.license_id ORDER BY e.entry_no)
    )
    SELECT c.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', c.entry_no, c.entry_no_before)
      FROM chain c WHERE c.entry_no <> c.entry_no_before + 1
    UNION ALL
    SELECT c.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', c.entry_no, c.balance_before, c.amount,
                  c.balance_before + c.amount, c.balance_after)
      FROM chain c WHERE c.balance_after <> c.balance_before + c.amount
    UNION ALL
    SELECT e.license_id, 'a charge names its hold and carries its price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR (h.process_id IS NOT NULL AND (e.price IS NULL OR e.usage IS NULL)))
    UNION ALL
    SELECT e.license_id, 'a charge is its price times its usage',
           format('entry %s: charged %s, short by %s, price times usage is %s', e.entry_no,
                  -e.amount, e.shortfall, obol.charge_for(e.price, e.usage))
      FROM obol.ledger_entries e
     WHERE e.kind = 'charge' AND e.price IS NOT NULL
       AND e.shortfall - e.amount IS DISTINCT FROM obol.charge_for(e.price, e.usage)
    UNION ALL
    SELECT e.license_id, 'a client is charged what it held at most',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge' AND h.process_id IS NULL AND (-e.amount > h.amount OR e.shortfall > 0)
    UNION ALL
    SELECT e.license_id, 'what is short of something took all of its hold',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge' AND e.shortfall > 0 AND -e.amount < h.amount
    UNION ALL
    SELECT r.license_id, 'a refund gives back what its entry took',
           format('entry %s: %s, its cause %s took %s', r.entry_no, r.amount, r.cause_id, -e.amount)
      FROM obol.ledger_entries r
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = r.license_id AND e.cause_id = r.cause_id AND e.kind IN ('charge', 'deduction')
     WHERE r.kind = 'refund' AND r.amount IS DISTINCT FROM -e.amount
$$;

REVOKE ALL ON FUNCTION obol.verify_ledger() FROM PUBLIC;
