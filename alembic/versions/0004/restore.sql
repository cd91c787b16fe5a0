-- What has other arguments or columns now goes first. No view loses a column by CREATE OR REPLACE.
DROP FUNCTION
    obol.book_deduction,
    obol.book_entry,
    obol.check_limits,
    obol.count_end,
    obol.count_use,
    obol.create_key,
    obol.create_license_v2,
    obol.describe_limits,
    obol.list_keys,
    obol.list_licenses,
    obol.list_limits,
    obol.merge_limits,
    obol.refuse_key,
    obol.revoke_key,
    obol.rotate_license_key_v2,
    obol.set_key,
    obol.set_license_v2,
    obol.show_license,
    obol.use_key,
    obol.verify_limits;
DROP VIEW obol.license_key_validity, obol.license_overview;

-- What this migration replaced, as the migrations before it had it.

-- When a license key is good: from valid_from on and before valid_until. The times and not a yes or
-- no, because a guarded write compares them with a time of its own: what it calls must not be volatile.
CREATE OR REPLACE VIEW obol.license_key_validity AS
    SELECT k.license_id, k.key_digest, k.created_at AS valid_from,
           COALESCE(k.expires_at, 'infinity') AS valid_until
      FROM obol.license_keys k;

-- Every license, for the operator and for the license itself; "expired" is a state of the moment.
CREATE OR REPLACE VIEW obol.license_overview AS
    SELECT l.license_id, l.name,
           CASE WHEN l.status = 'active' AND l.expires_at <= clock_timestamp() THEN 'expired'
                ELSE l.status END AS status,
           l.expires_at, l.balance, l.held,
           l.balance - l.held AS available, l.created_at,
           x.external_id
      FROM obol.licenses l
      LEFT JOIN obol.external_ids x ON x.license_id = l.license_id;

-- The second half of settling a hold, after the license row was written and is locked: ends the
-- hold (from the state p_from, or 40001 when another call has ended it meanwhile), books the
-- charge, and stores the answer with the idempotency key that names the hold.
CREATE OR REPLACE FUNCTION obol.book_charge(
    p_hold obol.holds,
    p_from text,
    p_charge bigint,
    p_shortfall bigint,
    p_entry_no bigint,
    p_balance_after bigint,
    p_usage jsonb,
    p_answer bytea,
    p_answer_ttl_s integer
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Nothing waits from here on: whoever ends a hold has locked its license first.
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.holds h
       SET state = 'settled', ended_at = v_now
     WHERE h.license_id = p_hold.license_id AND h.hold_id = p_hold.hold_id AND h.state = p_from;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the hold ended');
    END IF;
    PERFORM obol.book_entry(p_hold.license_id, p_entry_no, 'charge', -p_charge, p_balance_after,
                            p_hold.hold_id, p_hold.reference, p_hold.model, p_hold.price,
                            p_usage, p_shortfall);
    IF p_hold.process_id IS NOT NULL AND p_hold.idempotency_key IS NOT NULL THEN
        UPDATE obol.idempotency_keys i
           SET in_force = true, answer = p_answer,
               answer_expires_at = v_now + make_interval(secs => p_answer_ttl_s)
         WHERE i.license_id = p_hold.license_id AND i.scope = 'license'
           AND i.idempotency_key = p_hold.idempotency_key AND i.cause_id = p_hold.hold_id;
        -- The fence: a retry may have opened another hold under this key, and it alone may charge.
        IF NOT FOUND THEN
            RAISE EXCEPTION 'HOLD_NOT_OPEN: the idempotency key names another hold by now'
                USING ERRCODE = 'OB409';
        END IF;
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.book_charge(obol.holds, text, bigint, bigint, bigint, bigint, jsonb, bytea, integer) FROM PUBLIC;

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
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id, p_idempotency_key, p_fingerprint) r;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id);
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
            PERFORM obol.grant_credits_v2(p_license_id, p_license_id, p_credits, 50, NULL, NULL, 'purchase', 'opening grant',
                                          NULL, NULL, p_token_digest, p_request_id);
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
    v_next_change_at timestamptz;
    v_is_current boolean := false;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;

    -- The guarded write takes the row's lock. Its subqueries may see a snapshot from before a
    -- lock wait, so they only save work: what decides are the inserts below.
    LOOP
        UPDATE obol.licenses l
           SET balance = l.balance - p_amount, entry_count = l.entry_count + 1
         WHERE l.license_id = p_license_id
           AND l.status = 'active'
           AND (l.expires_at IS NULL OR l.expires_at > v_now)
           AND (l.next_change_at > v_now OR v_is_current)
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
        RETURNING l.balance, l.entry_count, l.expires_at, l.next_change_at
          INTO v_balance, v_entry_no, v_expires_at, v_next_change_at;
        IF FOUND THEN
            EXIT WHEN v_is_current OR v_next_change_at > clock_timestamp();
            -- A grant has started or ended while this waited for the lock, which it has now: once more.
            UPDATE obol.licenses l
               SET balance = l.balance + p_amount, entry_count = l.entry_count - 1
             WHERE l.license_id = p_license_id;
        END IF;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
        RETURN QUERY SELECT e.cause_id, -e.amount, e.balance_after
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.kind = 'deduction'
           AND e.cause_id = COALESCE(v_key.cause_id, p_deduction_id);
        IF FOUND THEN
            IF obol.refundable(p_license_id, COALESCE(v_key.cause_id, p_deduction_id)) = 0 THEN
                RAISE EXCEPTION 'ANSWER_GONE: this deduction was refunded'
                    USING ERRCODE = 'OB410', HINT = 'Nothing was charged now. Use a new key for a new deduction.';
            END IF;
            RETURN;
        END IF;
        IF v_is_current OR NOT obol.bring_up_to_date(p_license_id) THEN
            PERFORM obol.admissible_amount(p_license_id, p_amount, p_amount, NULL, true, NULL);
        END IF;
        v_is_current := true;
    END LOOP;

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

-- As deduct, for who has a token in place of the license's key: a program that sells something of its own. It
-- needs the scope for grants: whoever may adjust a balance downwards can do no more with this, and whoever
-- may only manage licenses touches no balance. The idempotency key is in the license's own scope.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), and those of deduct.
CREATE OR REPLACE FUNCTION obol.deduct_v2(
    p_license_id uuid,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_deduction_id uuid;
    v_amount bigint;
    v_balance bigint;
BEGIN
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    -- Any key of the license that is good; it is not what the caller is known by.
    SELECT d.deduction_id, d.amount, d.balance INTO v_deduction_id, v_amount, v_balance
      FROM obol.deduct(p_license_id, (SELECT k.key_digest FROM obol.license_key_validity k
                                       WHERE k.license_id = p_license_id ORDER BY k.valid_until DESC LIMIT 1),
                       p_deduction_id, p_amount, p_idempotency_key, p_fingerprint, p_reference) d;
    IF obol.is_booked_now(p_license_id, 'deduction', v_deduction_id) THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'deduct', v_deduction_id::text, jsonb_build_object(
            'amount', v_amount, 'reference', p_reference), p_request_id);
    END IF;
    RETURN QUERY SELECT v_deduction_id, v_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text) TO obol_service;

-- Ends the holds of one license that due_holds named, as 'expired', and frees their idempotency
-- keys. What has ended since is passed over. Returns how many it ended; 40001: ask again.
-- A process whose lease had lapsed may have renewed it since due_holds looked. Its hold expires
-- all the same: from the lapse on it could have at any moment, and settle_hold settles such a
-- hold once, if nobody took its place.
CREATE OR REPLACE FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[])
RETURNS integer
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- Short, because the caller has other licenses to see to, and a lease to renew.
SET lock_timeout = '500ms'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_given_back bigint;
    v_ended bigint := 0;
    v_count integer := 0;
BEGIN
    -- License first, then hold, as everywhere. The sum may be stale after a wait for this lock:
    -- it is compared below with what was ended, and taken back where the two differ.
    UPDATE obol.licenses l
       SET held = l.held - due.amount
      FROM (SELECT sum(h.amount)::bigint AS amount
              FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
               AND (h.expires_at IS NULL OR h.expires_at <= v_now)) due
     WHERE l.license_id = p_license_id AND l.held >= due.amount
    RETURNING due.amount INTO v_given_back;

    FOR v_hold IN
        UPDATE obol.holds h
           SET state = 'expired', ended_at = v_now
         WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
           AND (h.expires_at IS NULL OR h.expires_at <= v_now)
        RETURNING h.*
    LOOP
        PERFORM obol.free_idempotency_key(v_hold);
        v_ended := v_ended + v_hold.amount;
        v_count := v_count + 1;
    END LOOP;
    IF v_ended <> COALESCE(v_given_back, 0) THEN
        PERFORM obol.ask_again('a hold ended');
    END IF;
    RETURN v_count;
END
$$;

REVOKE ALL ON FUNCTION obol.expire_holds(uuid, uuid[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.expire_holds(uuid, uuid[]) TO obol_service;

-- Licenses after (p_after_at, p_after_id), oldest first, at most p_limit; nulls: from the oldest. p_query is a
-- part of the name, or how the id or the external id begins, in any case of letters; p_status is active,
-- suspended or expired; null: any. Errors: ADMIN_FORBIDDEN.
CREATE OR REPLACE FUNCTION obol.list_licenses(
    p_query text,
    p_status text,
    p_after_at timestamptz,
    p_after_id uuid,
    p_limit integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
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
                   FROM obol.license_overview l
                  WHERE (p_after_at IS NULL OR (l.created_at, l.license_id) > (p_after_at, p_after_id))
                    AND (p_status IS NULL OR l.status = p_status)
                    AND (p_query IS NULL
                         OR strpos(lower(l.name), lower(p_query)) > 0
                         OR starts_with(l.license_id::text, lower(p_query))
                         OR starts_with(lower(l.external_id), lower(p_query)))
                  ORDER BY l.created_at, l.license_id
                  LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_licenses(text, text, timestamptz, uuid, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.list_licenses(text, text, timestamptz, uuid, integer, bytea, text) TO obol_service;

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
    v_next_change_at timestamptz;
    v_is_current boolean := false;
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
           AND (l.next_change_at > v_now OR v_is_current)
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
        RETURNING l.balance - l.held, l.expires_at, l.next_change_at
          INTO v_available, v_license_expires_at, v_next_change_at;
        IF FOUND THEN
            EXIT WHEN v_is_current OR v_next_change_at > clock_timestamp();
            -- A grant has started or ended while this waited for the lock, which it has now: once more.
            UPDATE obol.licenses l SET held = l.held - v_amount WHERE l.license_id = p_license_id;
        END IF;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id,
                                                      p_idempotency_key, p_fingerprint) r;
        IF FOUND THEN
            RETURN;
        END IF;
        IF v_is_current OR NOT obol.bring_up_to_date(p_license_id) THEN
            v_amount := obol.admissible_amount(p_license_id, p_min_amount, v_amount, p_model, v_is_priced,
                                               p_max_unpaid_tokens);
        ELSE
            v_is_current := true;
        END IF;
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

-- Ends a hold at nothing. The same call again gives the same result. A process may also
-- release a hold of its own that has expired: its credits are back already, and released it
-- can no longer be settled late. p_unpaid is what its client got of the answer all the same, as in
-- obol.holds; its tokens count against the license for an hour.
-- Errors, in order: INVALID_LICENSE, HOLD_NOT_FOUND, HOLD_NOT_OPEN; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.release_hold(
    p_license_id uuid,
    p_key_digest bytea,
    p_hold_id uuid,
    p_process_id uuid,
    p_unpaid jsonb
) RETURNS TABLE (amount bigint, state text, expires_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_hold obol.holds;
    v_is_written boolean;
    v_unpaid_tokens bigint := COALESCE((p_unpaid ->> 'tokens')::bigint, 0);
BEGIN
    -- As in settle_hold: the joined hold may be stale, and the guarded update below decides.
    UPDATE obol.licenses l
       SET held = l.held - h.amount,
           unpaid_tokens = v_unpaid_tokens + CASE WHEN l.unpaid_until > v_now THEN l.unpaid_tokens ELSE 0 END,
           unpaid_until = CASE WHEN v_unpaid_tokens = 0 OR l.unpaid_until > v_now THEN l.unpaid_until
                               ELSE v_now + interval '1 hour' END
      FROM obol.holds h
     WHERE l.license_id = p_license_id
       AND h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
       AND h.process_id IS NOT DISTINCT FROM p_process_id
       AND (h.expires_at IS NULL OR h.expires_at > v_now)
       AND l.held >= h.amount;
    v_is_written := FOUND;

    -- Also the check of the key: it raises, and takes the write above back with it.
    v_hold := obol.find_hold(p_license_id, p_key_digest, p_hold_id, p_process_id);
    -- The lock is ours, and v_now may be from before a wait for it.
    v_now := clock_timestamp();
    IF v_is_written AND v_hold.state = 'held' AND v_hold.expires_at <= v_now THEN
        PERFORM obol.refuse_hold(v_hold, 0);
    ELSIF v_is_written THEN
        UPDATE obol.holds h
           SET state = 'released', ended_at = v_now, unpaid = p_unpaid
         WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
        RETURNING h.* INTO v_hold;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the hold ended');
        END IF;
        PERFORM obol.free_idempotency_key(v_hold);
    ELSIF v_hold.state = 'expired' AND p_process_id IS NOT NULL THEN
        UPDATE obol.licenses l
           SET unpaid_tokens = v_unpaid_tokens + CASE WHEN l.unpaid_until > v_now THEN l.unpaid_tokens ELSE 0 END,
               unpaid_until = CASE WHEN l.unpaid_until > v_now THEN l.unpaid_until ELSE v_now + interval '1 hour' END
         WHERE l.license_id = p_license_id AND v_unpaid_tokens > 0;
        UPDATE obol.holds h
           SET state = 'released', unpaid = p_unpaid
         WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'expired'
        RETURNING h.* INTO v_hold;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the hold was settled');
        END IF;
    ELSIF v_hold.state <> 'released' THEN
        PERFORM obol.refuse_hold(v_hold, 0);
    END IF;
    RETURN QUERY SELECT v_hold.amount, v_hold.state, v_hold.expires_at;
END
$$;

REVOKE ALL ON FUNCTION obol.release_hold(uuid, bytea, uuid, uuid, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.release_hold(uuid, bytea, uuid, uuid, jsonb) TO obol_service;

-- As rotate_license_key, for who has a token: adds a key, lets the ones before it end p_overlap_s seconds
-- from now, and returns when. Once per digest. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE.
CREATE OR REPLACE FUNCTION obol.rotate_license_key_v2(
    p_license_id uuid,
    p_key_digest bytea,
    p_overlap_s integer,
    p_token_digest bytea,
    p_request_id text
) RETURNS timestamptz
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_ends_at timestamptz := obol.rotate_license_key(p_license_id, p_key_digest, p_overlap_s);
BEGIN
    -- The same digest again finds the key of the first call, which another transaction has written.
    PERFORM FROM obol.license_keys k
      WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.xmin = pg_current_xact_id()::xid;
    IF FOUND THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'rotate_license_key', NULL, jsonb_build_object(
            'overlap_s', p_overlap_s, 'older_keys_end_at', v_ends_at), p_request_id);
    END IF;
    RETURN v_ends_at;
END
$$;

REVOKE ALL ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.rotate_license_key_v2(uuid, bytea, integer, bytea, text) TO obol_service;

-- Renames a license, renews it or lets it end, suspends or resumes it: null leaves the name, the expiry or the
-- status as it is, and 'infinity' is no expiry. The same again changes nothing, and is no act. A time that is
-- past has to be allowed, so that nobody is cut off by a slip. Holds that are open stay open: calls that run
-- are finished and paid for all the same. Returns the license.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), INVALID_AMOUNT (the time is past).
CREATE OR REPLACE FUNCTION obol.set_license_v2(
    p_license_id uuid,
    p_name text,
    p_expires_at timestamptz,
    p_allow_past boolean,
    p_status text,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
                 available bigint, external_id text, created_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_after record;
BEGIN
    SELECT l.name, l.expires_at, l.status INTO v_before
      FROM obol.licenses l WHERE l.license_id = p_license_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    IF NOT p_allow_past AND p_expires_at <= clock_timestamp() AND p_expires_at IS DISTINCT FROM v_before.expires_at THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or allow a past one: allow_past, or --allow-past.';
    END IF;
    UPDATE obol.licenses l
       SET name = COALESCE(p_name, l.name),
           expires_at = NULLIF(COALESCE(p_expires_at, l.expires_at), 'infinity'),
           status = COALESCE(p_status, l.status)
     WHERE l.license_id = p_license_id
    RETURNING l.name, l.expires_at, l.status INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'set_license', NULL, jsonb_build_object(
            'before', jsonb_build_object(
                'name', v_before.name, 'expires_at', v_before.expires_at, 'status', v_before.status),
            'after', jsonb_build_object(
                'name', v_after.name, 'expires_at', v_after.expires_at, 'status', v_after.status)), p_request_id);
    END IF;
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

REVOKE ALL ON FUNCTION obol.set_license_v2(uuid, text, timestamptz, boolean, text, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.set_license_v2(uuid, text, timestamptz, boolean, text, bytea, text) TO obol_service;

-- One license, by id. Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license).
CREATE OR REPLACE FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (license_id uuid, name text, status text, expires_at timestamptz, balance bigint, held bigint,
               available bigint, external_id text, created_at timestamptz)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM obol.bring_up_to_date(p_license_id);
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
    UNION ALL
    SELECT g.license_id, g.rule, g.detail FROM obol.verify_grants() g
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;

-- Appends one ledger entry. The caller has moved the balance and the entry counter in the same
-- transaction. A second entry of the same kind for the same cause (the same call asked again
-- while the first was still running) raises 40001 and takes the caller's write back with it.
CREATE OR REPLACE FUNCTION obol.book_entry(
    p_license_id uuid,
    p_entry_no bigint,
    p_kind text,
    p_amount bigint,
    p_balance_after bigint,
    p_cause_id uuid,
    p_reference text,
    p_model text DEFAULT NULL,
    p_price jsonb DEFAULT NULL,
    p_usage jsonb DEFAULT NULL,
    p_shortfall bigint DEFAULT 0
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO obol.ledger_entries
           (license_id, entry_no, kind, amount, balance_after, cause_id, reference,
            model, price, usage, shortfall, created_at)
    VALUES (p_license_id, p_entry_no, p_kind, p_amount, p_balance_after, p_cause_id, p_reference,
            p_model, p_price, p_usage, p_shortfall, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the entry was booked');
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.book_entry(uuid, bigint, text, bigint, bigint, uuid, text, text, jsonb, jsonb, bigint) FROM PUBLIC;

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
    SELECT r.license_id, 'refunds give back what their entry took at most',
           format('%s were given back, their cause %s took %s', r.amount, r.cause_id, -e.amount)
      FROM (SELECT r.license_id, r.cause_id, sum(r.amount) AS amount
              FROM obol.ledger_entries r WHERE r.kind = 'refund' GROUP BY r.license_id, r.cause_id) r
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = r.license_id AND e.cause_id = r.cause_id AND e.kind IN ('charge', 'deduction')
     WHERE e.amount IS NULL OR r.amount > -e.amount
$$;

REVOKE ALL ON FUNCTION obol.verify_ledger() FROM PUBLIC;

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
                          AND e.kind IN ('deduction', 'adjustment'))
       AND NOT EXISTS (SELECT FROM obol.grants g
                        WHERE g.license_id = i.license_id AND g.grant_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = i.license_id AND r.kind = 'refund' AND r.part_id = i.cause_id)
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
