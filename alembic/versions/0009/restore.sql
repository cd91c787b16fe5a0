-- What this migration replaced, as the migrations before it had it.

-- Corrects a balance: p_amount, above zero or below, with the reason for it. What is added is a grant
-- that never expires; what is taken burns like any use, and none of it is of what is held. Once per
-- adjustment id, and once per idempotency key of the operator: the same again gives the first result.
-- Errors, in order: INVALID_AMOUNT, ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED, INSUFFICIENT_CREDITS; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.adjust_credits_v2(
    p_license_id uuid,
    p_adjustment_id uuid,
    p_amount bigint,
    p_reason text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (adjustment_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    c_most constant bigint := 9223372036854775807;
    v_actor text;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_adjustment_id uuid;
    v_available bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    IF p_amount IS NULL OR p_amount = 0 OR p_amount < -c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: amount must be from -% to %, and not 0', c_most, c_most
            USING ERRCODE = 'OB400';
    END IF;
    v_actor := obol.check_token(p_token_digest, 'grant');
    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_adjustment_id := COALESCE(v_key.cause_id, p_adjustment_id);
    RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'adjustment' AND e.cause_id = v_adjustment_id;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT l.balance - l.held INTO v_available FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF p_amount > 0 THEN
        PERFORM obol.check_room(p_license_id, p_amount);
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started, reason,
                                 reference, created_at)
        VALUES (p_license_id, v_adjustment_id, p_amount, p_amount, 50, v_now, true, 'adjustment', p_reason, v_now);
    ELSIF v_available < -p_amount THEN
        RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are to be taken and % are available', -p_amount, v_available
            USING ERRCODE = 'OB402',
                  DETAIL = json_build_object('required', -p_amount, 'available', v_available),
                  HINT = 'Take less. What is held is for calls that run.';
    END IF;

    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1,
           -- What is added changes the set of grants, and what is taken is a use to be allotted.
           allotted_entry_no = CASE WHEN p_amount > 0 THEN l.entry_count + 1 ELSE l.allotted_entry_no END
     WHERE l.license_id = p_license_id
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_adjustment_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'adjustment', p_amount, v_balance, v_adjustment_id, p_reason);
    PERFORM obol.note_act(p_license_id, v_actor, 'adjust_credits', v_adjustment_id::text,
                          jsonb_build_object('amount', p_amount, 'reason', p_reason), p_request_id);
    RETURN QUERY SELECT v_adjustment_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.adjust_credits_v2(uuid, uuid, bigint, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.adjust_credits_v2(uuid, uuid, bigint, text, text, bytea, bytea, text) TO obol_service;

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
    IF p_hold.limited_by IS NOT NULL THEN
        -- One that has expired counts for nothing by then, and again from here on.
        PERFORM obol.count_end(p_hold, p_charge - CASE p_from WHEN 'held' THEN p_hold.amount ELSE 0 END,
                               CASE p_from WHEN 'held' THEN -1 ELSE 0 END);
    END IF;
    PERFORM obol.book_entry(p_hold.license_id, p_entry_no, 'charge', -p_charge, p_balance_after,
                            p_hold.hold_id, p_hold.reference, p_hold.model, p_hold.price,
                            p_usage, p_shortfall, p_hold.key_id);
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

-- What deduct and deduct_v2 do, once it is known who asks. p_is_of_key: whoever has the key, so that the key's limits
-- count as well as the license's, and its use is noted; an operator is only known by a token.
-- Errors: those of deduct.
CREATE OR REPLACE FUNCTION obol.book_deduction(
    p_license_id uuid,
    p_key_digest bytea,
    p_deduction_id uuid,
    p_amount bigint,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_reference text,
    p_is_of_key boolean
) RETURNS TABLE (deduction_id uuid, amount bigint, balance bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_key obol.idempotency_keys;
    v_balance bigint;
    v_entry_no bigint;
    v_expires_at timestamptz;
    v_next_change_at timestamptz;
    v_is_current boolean := false;
    v_limits jsonb;
    v_key_id uuid;
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
        RETURNING l.balance, l.entry_count, l.expires_at, l.next_change_at, l.limits
          INTO v_balance, v_entry_no, v_expires_at, v_next_change_at, v_limits;
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
            PERFORM obol.check_limits(p_license_id, CASE WHEN p_is_of_key THEN p_key_digest END, NULL,
                                      p_amount, p_amount, 0, clock_timestamp());
            PERFORM obol.admissible_amount(p_license_id, p_amount, p_amount, NULL, true, NULL);
        END IF;
        v_is_current := true;
    END LOOP;

    -- The lock is ours, and v_now may be from before a wait for it: the key or the license may
    -- have ended since.
    SELECT u.key_id INTO v_key_id
      FROM obol.use_key(p_license_id, p_key_digest, p_is_of_key, v_limits, NULL, p_amount, p_amount, 0) u;
    IF v_expires_at <= clock_timestamp() THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_deduction_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'deduction', -p_amount, v_balance,
                            p_deduction_id, p_reference, p_key_id => v_key_id);
    RETURN QUERY SELECT p_deduction_id, p_amount, v_balance;
END
$$;

REVOKE ALL ON FUNCTION obol.book_deduction(uuid, bytea, uuid, bigint, text, bytea, text, boolean) FROM PUBLIC;

-- Makes a license's set of grants what it should be by now: allots what was used since the last
-- change to the grants in burn order, starts what is due, and takes what has ended and no hold
-- covers. Held credits burn in the same order, so what the holds cover is the first p credits of it.
-- Returns whether there was anything to do, and then has the row locked: until the end of the
-- transaction the balance is what the license may use. p_even_so: allot although nothing is due,
-- because the caller is about to change the set.
CREATE OR REPLACE FUNCTION obol.bring_up_to_date(p_license_id uuid, p_even_so boolean DEFAULT false)
RETURNS boolean
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_license obol.licenses;
    v_grant record;
    v_balance bigint;
    v_entry_no bigint;
    v_covered bigint;
    v_lapsing bigint;
    v_next_change_at timestamptz;
BEGIN
    UPDATE obol.licenses l
       SET next_change_at = l.next_change_at
     WHERE l.license_id = p_license_id AND (p_even_so OR l.next_change_at <= v_now)
    RETURNING l.* INTO v_license;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- From here on nobody else writes, and time is what it is under the lock.
    v_now := clock_timestamp();
    v_balance := v_license.balance;
    v_entry_no := v_license.entry_count;

    FOR v_grant IN SELECT o.*, v_balance + sum(o.used) OVER () AS balance_from
                     FROM obol.list_open_grants(p_license_id) o WHERE o.used > 0 LOOP
        INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
        VALUES (p_license_id, v_grant.grant_id, v_license.allotted_entry_no + 1, v_entry_no,
                v_grant.balance_from - v_grant.before, v_grant.balance_from - v_grant.before - v_grant.used);
        UPDATE obol.grants g
           SET credits_left = g.credits_left - v_grant.used
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
    END LOOP;

    FOR v_grant IN SELECT g.* FROM obol.grants g
                    WHERE g.license_id = p_license_id AND NOT g.has_started AND g.credits_left > 0 AND g.starts_at <= v_now
                    ORDER BY g.starts_at, g.created_at, g.grant_id LOOP
        UPDATE obol.grants g SET has_started = true
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
        v_balance := v_balance + v_grant.amount;
        v_entry_no := v_entry_no + 1;
        PERFORM obol.book_entry(p_license_id, v_entry_no, 'grant', v_grant.amount, v_balance,
                                v_grant.grant_id, v_grant.reference);
    END LOOP;

    FOR v_grant IN SELECT o.* FROM obol.list_open_grants(p_license_id) o LOOP
        v_covered := LEAST(v_grant.credits_left, GREATEST(0, v_license.held - v_grant.before));
        v_lapsing := v_grant.credits_left - v_covered;
        IF v_grant.ends_at <= v_now AND v_lapsing > 0 THEN
            UPDATE obol.grants g
               SET credits_left = v_covered, lapsed = g.lapsed + v_lapsing
             WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
            v_balance := v_balance - v_lapsing;
            v_entry_no := v_entry_no + 1;
            PERFORM obol.book_part(p_license_id, v_entry_no, v_grant.kind, -v_lapsing, v_balance,
                                   v_grant.grant_id, gen_random_uuid(), NULL);
        END IF;
    END LOOP;

    -- What has ended and is covered leaves this in the past, and each call comes by here until
    -- the hold has ended.
    SELECT COALESCE(min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at) ELSE g.starts_at END), 'infinity')
      INTO v_next_change_at
      FROM obol.grants g WHERE g.license_id = p_license_id AND g.credits_left > 0;
    UPDATE obol.licenses l
       SET balance = v_balance, entry_count = v_entry_no, allotted_entry_no = v_entry_no,
           next_change_at = v_next_change_at
     WHERE l.license_id = p_license_id AND l.balance = v_license.balance AND l.entry_count = v_license.entry_count;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the license changed');
    END IF;
    RETURN true;
END
$$;

REVOKE ALL ON FUNCTION obol.bring_up_to_date(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.bring_up_to_date(uuid, boolean) TO obol_service;

-- Gives credits with a lifetime: from p_starts_at (null: now) to p_expires_at (null: never), burnt
-- in the order of p_priority. Once per grant id, and once per idempotency key (the operator's own
-- scope, so that no client's key can stand in its way): the same again gives the grant as it is now.
-- Errors, in order: INVALID_AMOUNT, ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED; 40001 means ask again with the same id.
CREATE OR REPLACE FUNCTION obol.grant_credits_v2(
    p_license_id uuid,
    p_grant_id uuid,
    p_amount bigint,
    p_priority integer,
    p_starts_at timestamptz,
    p_expires_at timestamptz,
    p_reason text,
    p_reference text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint,
                 starts_at timestamptz, expires_at timestamptz, state text, reason text, reference text,
                 created_at timestamptz, balance bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_grant_id uuid;
BEGIN
    IF p_amount IS NULL OR p_amount <= 0 THEN
        PERFORM obol.refuse_amount('amount', 1);
    END IF;
    v_actor := obol.check_token(p_token_digest, 'grant');

    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_grant_id := COALESCE(v_key.cause_id, p_grant_id);
    PERFORM FROM obol.grants g WHERE g.license_id = p_license_id AND g.grant_id = v_grant_id;
    IF NOT FOUND THEN
        -- What was used so far is of the grants that there were.
        PERFORM obol.bring_up_to_date(p_license_id, true);
        v_now := clock_timestamp();
        PERFORM obol.check_room(p_license_id, p_amount);
        IF p_expires_at <= GREATEST(p_starts_at, v_now) THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: a grant must expire later than now and than it starts' USING ERRCODE = 'OB400';
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_grant_id);
        END IF;
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, expires_at,
                                 has_started, reason, reference, created_at)
        VALUES (p_license_id, v_grant_id, p_amount, p_amount, p_priority, COALESCE(p_starts_at, v_now), p_expires_at,
                false, p_reason, p_reference, v_now);
        -- Starts it, if its time has come.
        PERFORM obol.bring_up_to_date(p_license_id, true);
        PERFORM obol.note_act(p_license_id, v_actor, 'grant_credits', v_grant_id::text,
                              jsonb_build_object('amount', p_amount, 'reason', p_reason), p_request_id);
    END IF;
    -- The balance as the first call found it, once it has started.
    RETURN QUERY SELECT d.*, COALESCE((SELECT e.balance_after FROM obol.ledger_entries e
                                        WHERE e.license_id = p_license_id AND e.kind = 'grant'
                                          AND e.cause_id = v_grant_id), l.balance)
                   FROM obol.describe_grants(p_license_id) d
                   JOIN obol.licenses l ON l.license_id = p_license_id
                  WHERE d.grant_id = v_grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.grant_credits_v2(uuid, uuid, bigint, integer, timestamptz, timestamptz, text, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.grant_credits_v2(uuid, uuid, bigint, integer, timestamptz, timestamptz, text, text, text, bytea, bytea, text) TO obol_service;

-- Ends a key for good: from now on it is refused as an unknown one is. Holds that were opened with it can still be
-- ended with it: a service already given is paid for. The same again changes nothing.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license), KEY_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text)
RETURNS TABLE (key_id uuid, name text, created_at timestamptz, expires_at timestamptz,
               last_used_at timestamptz, revoked_at timestamptz, limits jsonb)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    UPDATE obol.license_keys k
       SET revoked_at = v_now
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.revoked_at IS NULL;
    IF FOUND THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'revoke_key', p_key_id::text, NULL, p_request_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.revoke_key(uuid, uuid, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.revoke_key(uuid, uuid, bytea, text) TO obol_service;

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
    v_is_current boolean := false;
BEGIN
    IF p_amount IS NULL OR p_amount < 0 THEN
        PERFORM obol.refuse_amount('amount', 0);
    END IF;

    -- The hold that is joined may be stale after a lock wait: book_charge's guarded update of
    -- the hold decides, and takes this one back with it. The guard on held is for the same case:
    -- a twin that has ended the hold meanwhile must lead to its result, not to a failed CHECK.
    LOOP
        UPDATE obol.licenses l
           SET balance = l.balance - p_amount, held = l.held - h.amount, entry_count = l.entry_count + 1
          FROM obol.holds h
         WHERE l.license_id = p_license_id
           AND h.license_id = p_license_id AND h.hold_id = p_hold_id AND h.state = 'held'
           AND h.process_id IS NOT DISTINCT FROM p_process_id
           AND (h.expires_at IS NULL OR h.expires_at > v_now)
           AND (l.next_change_at > v_now OR v_is_current)
           AND h.amount >= p_amount AND l.held >= h.amount AND (p_max_credits IS NULL OR p_max_credits >= p_amount)
           AND EXISTS (SELECT FROM obol.license_key_validity k
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest
                          AND (k.valid_until > v_now
                               OR (k.valid_from <= h.opened_at AND k.valid_until > h.opened_at)))
        RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
        -- A change of the grants that comes while this waits for the lock may as well come after it: what is
        -- charged was held.
        EXIT WHEN v_balance IS NOT NULL OR v_is_current OR NOT obol.bring_up_to_date(p_license_id);
        v_is_current := true;
    END LOOP;
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
        -- Only under the lock is what is available still so when it is taken: on a license that many calls use
        -- at once, to read first and compare afterwards would hardly ever succeed.
        PERFORM obol.lock_license(p_license_id);
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
    UNION ALL
    SELECT k.license_id, k.rule, k.detail FROM obol.verify_imported_keys() k
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;
