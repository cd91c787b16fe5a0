-- Written by `make schema` from the migrations, to be read in reviews; nothing runs it.

--
-- PostgreSQL database dump
--

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: obol; Type: SCHEMA; Schema: -; Owner: -
--

CREATE SCHEMA obol;

--
-- Name: adjust_credits(uuid, uuid, bigint, text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.adjust_credits(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reason text) RETURNS TABLE(adjustment_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    RETURN QUERY SELECT a.* FROM obol.adjust_credits_v2(p_license_id, p_adjustment_id, p_amount, p_reason,
                                                        p_idempotency_key, p_fingerprint, NULL, NULL) a;
END
$$;

--
-- Name: adjust_credits_v2(uuid, uuid, bigint, text, text, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.adjust_credits_v2(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(adjustment_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
    v_notify_below bigint;
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
    RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_adjustment_id);
    END IF;
    PERFORM obol.book_entry(p_license_id, v_entry_no, 'adjustment', p_amount, v_balance, v_adjustment_id, p_reason);
    IF p_amount > 0 THEN
        PERFORM obol.arm_alerts(p_license_id, v_balance);
    ELSIF v_balance <= v_notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'adjust_credits', v_adjustment_id::text,
                          jsonb_build_object('amount', p_amount, 'reason', p_reason), p_request_id);
    RETURN QUERY SELECT v_adjustment_id, p_amount, v_balance;
END
$$;

--
-- Name: admissible_amount(uuid, bigint, bigint, text, boolean, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.admissible_amount(p_license_id uuid, p_min_amount bigint, p_amount bigint, p_model text, p_is_priced boolean, p_max_unpaid_tokens bigint) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_available bigint;
    v_unpaid_tokens bigint;
    v_wait_s integer;
BEGIN
    PERFORM obol.check_active(p_license_id);
    -- It is -infinity at first, from which PostgreSQL before 17 subtracts nothing.
    SELECT l.balance - l.held, l.unpaid_tokens,
           CASE WHEN l.unpaid_until > clock_timestamp()
                THEN ceil(extract(epoch FROM l.unpaid_until - clock_timestamp())) ELSE 0 END
      INTO v_available, v_unpaid_tokens, v_wait_s
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF v_unpaid_tokens >= p_max_unpaid_tokens AND v_wait_s > 0 THEN
        RAISE EXCEPTION 'LIMIT_EXCEEDED: too many answers of this license broke off and were not charged'
            USING ERRCODE = 'OB429',
                  DETAIL = json_build_object('limit', 'unpaid_tokens_per_hour', 'limit_value', p_max_unpaid_tokens,
                                             'used', v_unpaid_tokens, 'retry_after_s', v_wait_s),
                  HINT = format('Ask again in %s s.', v_wait_s);
    END IF;
    IF NOT p_is_priced THEN
        RAISE EXCEPTION 'MODEL_NOT_PRICED: the model % has no price', p_model
            USING ERRCODE = 'OB424', HINT = 'Use a model that the price book names.';
    END IF;
    IF v_available < p_min_amount THEN
        RAISE EXCEPTION 'INSUFFICIENT_CREDITS: % credits are needed and % are available',
                p_min_amount, v_available
            USING ERRCODE = 'OB402',
                  DETAIL = json_build_object('required', p_min_amount, 'available', v_available),
                  HINT = 'Have credits granted, or ask for less.';
    END IF;
    IF v_available >= p_amount THEN
        PERFORM obol.ask_again('the license changed');
    END IF;
    RETURN v_available;
END
$$;

--
-- Name: archivable_through(uuid, timestamp with time zone, integer, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.archivable_through(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_before timestamptz := LEAST(p_before, clock_timestamp() - interval '31 days');
    v_archived bigint := COALESCE((SELECT a.last_entry_no FROM obol.archived a WHERE a.license_id = p_license_id), 0);
    v_low bigint := v_archived;
    v_high bigint := COALESCE((SELECT w.entry_no FROM obol.usage_watermarks w WHERE w.license_id = p_license_id), 0);
    v_middle bigint;
    v_is_before boolean;
    v_wanted bigint;
    v_opens bigint;
    v_closes bigint;
BEGIN
    -- As in entry_span: entries are numbered in the order of their times.
    WHILE v_low < v_high LOOP
        v_middle := v_low + (v_high - v_low + 1) / 2;
        SELECT e.created_at < v_before INTO v_is_before FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no = v_middle;
        IF v_is_before THEN
            v_low := v_middle;
        ELSE
            v_high := v_middle - 1;
        END IF;
    END LOOP;
    IF NOT p_with_undelivered THEN
        SELECT COALESCE(min(e.entry_no) - 1, v_high) INTO v_high
          FROM obol.undelivered_charges u
          JOIN obol.ledger_entries e ON e.license_id = p_license_id AND e.kind = 'charge' AND e.cause_id = u.hold_id
         WHERE u.license_id = p_license_id AND e.entry_no <= v_high;
    END IF;
    v_wanted := LEAST(v_archived + p_most, v_high);
    -- Entries from a charge to its refund are of one piece, and so are pieces that overlap. The one across the end:
    SELECT p.opens, p.closes INTO v_opens, v_closes
      FROM (SELECT min(s.opens) AS opens, max(s.closes) AS closes
              FROM (SELECT b.*, sum(b.is_first) OVER (ORDER BY b.opens, b.closes) AS piece
                      FROM (SELECT f.opens, f.closes,
                                   (f.opens > COALESCE(max(f.closes) OVER (ORDER BY f.opens, f.closes
                                                           ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0))::integer AS is_first
                              FROM (SELECT c.entry_no AS opens, r.entry_no AS closes
                                      FROM obol.ledger_entries r
                                      JOIN obol.ledger_entries c
                                        ON c.license_id = p_license_id AND c.kind IN ('charge', 'deduction')
                                       AND c.cause_id = r.cause_id
                                     WHERE r.license_id = p_license_id AND r.kind = 'refund') f) b) s
             GROUP BY s.piece) p
     WHERE p.opens <= v_wanted AND p.closes > v_wanted;
    RETURN CASE WHEN v_closes <= v_high THEN v_closes ELSE COALESCE(v_opens - 1, v_wanted) END;
END
$$;

--
-- Name: archive_entries(uuid, bigint, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.archive_entries(p_license_id uuid, p_last_entry_no bigint, p_file_digest bytea, p_token_digest bytea, p_request_id text) RETURNS boolean
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz;
    v_archived obol.archived;
    v_first bigint;
    v_last_at timestamptz;
    v_next_at timestamptz;
    v_lines text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    SELECT a.* INTO v_archived FROM obol.archived a WHERE a.license_id = p_license_id;
    PERFORM FROM obol.archived_files f
      WHERE f.license_id = p_license_id AND f.last_entry_no = p_last_entry_no AND f.file_digest = p_file_digest;
    IF FOUND THEN
        RETURN true;
    END IF;
    v_first := COALESCE(v_archived.last_entry_no, 0) + 1;
    SELECT string_agg(l.line || E'\n', '' ORDER BY l.ordinality) INTO v_lines
      FROM obol.archive_lines(p_license_id, v_first, p_last_entry_no) WITH ORDINALITY AS l (line, ordinality);
    SELECT max(e.created_at) INTO v_last_at FROM obol.ledger_entries e
     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN v_first AND p_last_entry_no;
    -- A refund of one of them may have come meanwhile: then they stay until it can go with them.
    PERFORM FROM obol.ledger_entries r
       JOIN obol.ledger_entries c
         ON c.license_id = p_license_id AND c.kind IN ('charge', 'deduction') AND c.cause_id = r.cause_id
      WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.entry_no > p_last_entry_no
        AND c.entry_no <= p_last_entry_no;
    IF FOUND OR sha256(convert_to(v_lines, 'UTF8')) <> p_file_digest
       OR (v_last_at < v_now - interval '30 days') IS NOT TRUE THEN
        RETURN false;
    END IF;

    PERFORM obol.keep_sums(p_license_id, v_first, p_last_entry_no);
    -- By now purge_expired may forget them anyway; and nothing is left that they could name.
    DELETE FROM obol.idempotency_keys i
     WHERE i.license_id = p_license_id AND i.claimed_at <= v_now - interval '30 days'
       AND EXISTS (SELECT FROM obol.ledger_entries e
                    WHERE e.license_id = p_license_id AND e.entry_no BETWEEN v_first AND p_last_entry_no
                      AND i.cause_id IN (e.cause_id, e.part_id));
    DELETE FROM obol.holds h
     USING obol.ledger_entries e
     WHERE h.license_id = p_license_id AND h.hold_id = e.cause_id
       AND e.license_id = p_license_id AND e.entry_no BETWEEN v_first AND p_last_entry_no AND e.kind = 'charge';
    DELETE FROM obol.allotments a
     WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN v_first AND p_last_entry_no;
    SELECT e.balance_after, n.created_at INTO v_archived.balance, v_next_at
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries n ON n.license_id = p_license_id AND n.entry_no = p_last_entry_no + 1
     WHERE e.license_id = p_license_id AND e.entry_no = p_last_entry_no;
    DELETE FROM obol.ledger_entries e
     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN v_first AND p_last_entry_no;

    INSERT INTO obol.archived_files (license_id, first_entry_no, last_entry_no, file_digest, archived_at)
    VALUES (p_license_id, v_first, p_last_entry_no, p_file_digest, v_now);
    INSERT INTO obol.archived AS a (license_id, last_entry_no, balance, last_entry_at, acts_until, digest)
    VALUES (p_license_id, p_last_entry_no, v_archived.balance, v_last_at,
            -- An act comes right after its entry and before the next one. The second is for a clock that was put back.
            GREATEST(COALESCE(v_next_at, v_now), v_last_at + interval '1 second'),
            sha256(COALESCE(v_archived.digest, '') || p_file_digest))
    ON CONFLICT (license_id) DO UPDATE
       SET last_entry_no = excluded.last_entry_no, balance = excluded.balance,
           last_entry_at = GREATEST(a.last_entry_at, excluded.last_entry_at),
           acts_until = GREATEST(a.acts_until, excluded.acts_until),
           digest = excluded.digest;
    PERFORM obol.note_act(p_license_id, v_actor, 'archive', NULL, jsonb_build_object(
        'first_entry_no', v_first, 'last_entry_no', p_last_entry_no, 'sha256', encode(p_file_digest, 'hex')), p_request_id);
    RETURN true;
END
$$;

--
-- Name: archive_lines(uuid, bigint, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.archive_lines(p_license_id uuid, p_first bigint, p_last bigint) RETURNS TABLE(line text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT json_build_object(
                   'obol_archive', 1, 'license_id', p_license_id, 'first_entry_no', p_first, 'last_entry_no', p_last,
                   'holds', (SELECT count(*) FROM obol.ledger_entries e
                               JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
                              WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'charge'),
                   'allotments', (SELECT count(*) FROM obol.allotments a
                                   WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last),
                   'entry', json_build_array('entry_no', 'kind', 'amount', 'balance_after', 'cause_id', 'part_id', 'key_id',
                                             'reference', 'model', 'price', 'usage', 'shortfall', 'created_at'))::text;
    RETURN QUERY
        SELECT json_build_array(
                   e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id, e.part_id, e.key_id, e.reference, e.model, e.price,
                   e.usage, e.shortfall, (extract(epoch FROM e.created_at) * 1000000)::bigint)::text
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
         ORDER BY e.entry_no;
    RETURN QUERY
        SELECT json_build_object(
                   'hold_id', h.hold_id, 'amount', h.amount, 'state', h.state, 'process_id', h.process_id,
                   'expires_at', (extract(epoch FROM h.expires_at) * 1000000)::bigint, 'model', h.model, 'price', h.price,
                   'idempotency_key', h.idempotency_key, 'reference', h.reference, 'available_after', h.available_after,
                   'opened_at', (extract(epoch FROM h.opened_at) * 1000000)::bigint,
                   'ended_at', (extract(epoch FROM h.ended_at) * 1000000)::bigint,
                   'delivered_at', (extract(epoch FROM h.delivered_at) * 1000000)::bigint,
                   'key_id', h.key_id, 'limited_by', h.limited_by)::text
          FROM obol.ledger_entries e
          JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
         WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'charge'
         ORDER BY e.entry_no;
    RETURN QUERY
        SELECT json_build_object(
                   'grant_id', a.grant_id, 'first_entry_no', a.first_entry_no, 'last_entry_no', a.last_entry_no,
                   'balance_from', a.balance_from, 'balance_to', a.balance_to)::text
          FROM obol.allotments a
         WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last
         ORDER BY a.last_entry_no, a.balance_from DESC, a.grant_id;
END
$$;

--
-- Name: arm_alerts(uuid, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.arm_alerts(p_license_id uuid, p_balance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_alerts jsonb;
    v_next bigint;
BEGIN
    SELECT l.alerts INTO v_alerts FROM obol.licenses l
     WHERE l.license_id = p_license_id AND (l.alerts IS NOT NULL OR l.notify_below < 0);
    IF FOUND THEN
        v_next := obol.next_threshold(v_alerts, p_balance, p_balance);
        UPDATE obol.licenses l SET alert_base = p_balance, notify_below = v_next WHERE l.license_id = p_license_id;
    END IF;
END
$$;

--
-- Name: ask_again(text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.ask_again(p_what text) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION '% meanwhile: ask again with the same id', p_what USING ERRCODE = '40001';
END
$$;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: holds; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.holds (
    license_id uuid NOT NULL,
    hold_id uuid NOT NULL,
    amount bigint NOT NULL,
    state text DEFAULT 'held'::text NOT NULL,
    process_id uuid,
    expires_at timestamp with time zone,
    model text,
    price jsonb,
    idempotency_key text,
    reference text,
    available_after bigint NOT NULL,
    opened_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    delivered_at timestamp with time zone,
    unpaid jsonb,
    key_id uuid,
    limited_by uuid[],
    CONSTRAINT holds_amount_check CHECK ((amount >= 0)),
    CONSTRAINT holds_check CHECK (((process_id IS NULL) = (expires_at IS NOT NULL))),
    CONSTRAINT holds_check1 CHECK (((state = 'held'::text) = (ended_at IS NULL))),
    CONSTRAINT holds_check2 CHECK (((unpaid IS NULL) OR (state = 'released'::text))),
    CONSTRAINT holds_state_check CHECK ((state = ANY (ARRAY['held'::text, 'settled'::text, 'released'::text, 'expired'::text])))
)
WITH (fillfactor='80');

--
-- Name: TABLE holds; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.holds IS 'Credits set aside for a call in flight: of a process (it ends with the lease of the process) or of a client (it ends at expires_at). Settled ones stay, as their charges do; those that ended without a charge are forgotten by purge_expired. unpaid is what the client got of an answer that broke off: {"reason", "events", "bytes", "tokens" (estimated)}.';

--
-- Name: COLUMN holds.key_id; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.holds.key_id IS 'The key that it was opened with; null: opened before keys had ids.';

--
-- Name: COLUMN holds.limited_by; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.holds.limited_by IS 'The keys and the license whose limits the hold counted in, on the day and in the month (UTC) of opened_at.';

--
-- Name: book_charge(obol.holds, text, bigint, bigint, bigint, bigint, jsonb, bytea, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.book_charge(p_hold obol.holds, p_from text, p_charge bigint, p_shortfall bigint, p_entry_no bigint, p_balance_after bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
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
    IF p_shortfall > 0 THEN
        PERFORM obol.write_event(p_hold.license_id, 'shortfall.booked', p_hold.hold_id, jsonb_build_object(
            'hold_id', p_hold.hold_id, 'shortfall', p_shortfall, 'charge', p_charge, 'model', p_hold.model,
            'balance', p_balance_after));
    END IF;
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

--
-- Name: book_deduction(uuid, bytea, uuid, bigint, text, bytea, text, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.book_deduction(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_is_of_key boolean) RETURNS TABLE(deduction_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
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
    v_notify_below bigint;
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
        RETURNING l.balance, l.entry_count, l.expires_at, l.next_change_at, l.limits, l.notify_below
          INTO v_balance, v_entry_no, v_expires_at, v_next_change_at, v_limits, v_notify_below;
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
    IF v_balance <= v_notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    RETURN QUERY SELECT p_deduction_id, p_amount, v_balance;
END
$$;

--
-- Name: book_entry(uuid, bigint, text, bigint, bigint, uuid, text, text, jsonb, jsonb, bigint, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.book_entry(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_reference text, p_model text DEFAULT NULL::text, p_price jsonb DEFAULT NULL::jsonb, p_usage jsonb DEFAULT NULL::jsonb, p_shortfall bigint DEFAULT 0, p_key_id uuid DEFAULT NULL::uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO obol.ledger_entries
           (license_id, entry_no, kind, amount, balance_after, cause_id, reference,
            model, price, usage, shortfall, key_id, created_at)
    VALUES (p_license_id, p_entry_no, p_kind, p_amount, p_balance_after, p_cause_id, p_reference,
            p_model, p_price, p_usage, p_shortfall, p_key_id, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the entry was booked');
    END IF;
END
$$;

--
-- Name: book_part(uuid, bigint, text, bigint, bigint, uuid, uuid, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.book_part(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_part_id uuid, p_reference text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO obol.ledger_entries
           (license_id, entry_no, kind, amount, balance_after, cause_id, part_id, reference, created_at)
    VALUES (p_license_id, p_entry_no, p_kind, p_amount, p_balance_after, p_cause_id, p_part_id, p_reference,
            clock_timestamp());
END
$$;

--
-- Name: book_stripe_event(uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.book_stripe_event(p_license_id uuid, p_payload bytea, p_signature text) RETURNS TABLE(outcome text, payment_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_event jsonb;
    v_type text;
    v_object jsonb;
    v_payment_id uuid;
    v_payment obol.payments;
    v_disagreement text;
    v_now timestamptz;
BEGIN
    IF obol.is_signed_by_stripe(p_payload, p_signature) IS NOT TRUE THEN
        RETURN QUERY SELECT 'forged', NULL::uuid;
        RETURN;
    END IF;
    v_event := convert_from(p_payload, 'UTF8')::jsonb;
    v_type := v_event ->> 'type';
    v_object := v_event #> '{data,object}';
    IF v_type IN ('charge.dispute.created', 'charge.dispute.updated', 'charge.dispute.funds_withdrawn', 'charge.dispute.closed')
       OR (v_type IN ('refund.failed', 'refund.updated', 'charge.refund.updated')
           AND v_object ->> 'status' IN ('failed', 'canceled')) THEN
        SELECT i.payment_id INTO v_payment_id FROM obol.stripe_intents i
         WHERE i.payment_intent = v_object ->> 'payment_intent' AND i.license_id = p_license_id;
        IF NOT FOUND THEN
            RETURN QUERY SELECT 'unknown_intent', NULL::uuid;
            RETURN;
        END IF;
    ELSIF v_type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded', 'checkout.session.expired',
                     'charge.refunded') THEN
        SELECT p.payment_id INTO v_payment_id FROM obol.payments p
         WHERE p.license_id = p_license_id AND v_object #>> '{metadata,license_id}' = p_license_id::text
           AND p.payment_id::text = v_object #>> '{metadata,payment_id}';
    END IF;
    IF v_payment_id IS NULL THEN
        RETURN QUERY SELECT 'ignored', NULL::uuid;
        RETURN;
    END IF;

    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    INSERT INTO obol.stripe_events (license_id, event_id, payment_id, event_type, booked_at)
    VALUES (p_license_id, v_event ->> 'id', v_payment_id, v_type, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN QUERY SELECT 'replayed', v_payment_id;
        RETURN;
    END IF;
    SELECT p.* INTO v_payment FROM obol.payments p WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
    v_disagreement := obol.disagreement_of(to_jsonb(v_payment), v_object);
    IF v_disagreement IS NOT NULL THEN
        v_disagreement := format('%s: %s', v_event ->> 'id', v_disagreement);
        UPDATE obol.payments p SET disagreement = v_disagreement
         WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
        RETURN QUERY SELECT 'disagrees', v_payment_id;
        RETURN;
    END IF;
    PERFORM obol.note_stripe_state(p_license_id, v_payment_id, v_type, v_object);
    IF v_type LIKE '%refund%' THEN
        PERFORM obol.note_refund(p_license_id, v_payment_id, v_event);
    END IF;
    -- Now, and not before: a refund may have come first.
    IF v_type = 'checkout.session.async_payment_succeeded'
       OR (v_type = 'checkout.session.completed' AND v_object ->> 'payment_status' = 'paid') THEN
        UPDATE obol.payments p SET state = 'paid', paid_at = v_now
         WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id AND p.paid_at IS NULL;
        IF FOUND THEN
            PERFORM obol.give_for_payment(p_license_id, v_payment_id, v_payment_id, v_payment.credits,
                                          make_interval(days => v_payment.lifetime_days::integer),
                                          'stripe:' || (v_event ->> 'id'));
            PERFORM obol.write_event(p_license_id, 'payment.received', v_payment_id, jsonb_build_object(
                'payment_id', v_payment_id, 'package_id', v_payment.package_id, 'name', v_payment.name,
                'price', v_payment.price, 'currency', v_payment.currency, 'credits', v_payment.credits,
                'grant_id', v_payment_id, 'paid_at', obol.utc(v_now),
                'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
        END IF;
    END IF;
    PERFORM FROM obol.payments p
      WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id AND p.paid_at IS NOT NULL;
    IF FOUND THEN
        PERFORM obol.square_payment(p_license_id, v_payment_id, v_event ->> 'id');
    END IF;
    RETURN QUERY SELECT 'booked', v_payment_id;
END
$$;

--
-- Name: bring_up_to_date(uuid, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.bring_up_to_date(p_license_id uuid, p_even_so boolean DEFAULT false) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
    v_has_started boolean := false;
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
        v_has_started := true;
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
    -- One may have started and more than it ended: that is told, and then told again.
    IF v_balance < v_license.balance AND v_balance <= v_license.notify_below THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    IF v_has_started THEN
        PERFORM obol.arm_alerts(p_license_id, v_balance);
    END IF;
    RETURN true;
END
$$;

--
-- Name: charge_for(jsonb, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.charge_for(p_price jsonb, p_usage jsonb) RETURNS numeric
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_attempt jsonb;
    v_tokens jsonb;
    v_price jsonb;
    v_prompt numeric;
    v_tier jsonb;
    v_above numeric;
    v_millionths numeric := 0;
BEGIN
    FOR v_attempt IN
        SELECT a.attempt
          FROM jsonb_array_elements(COALESCE(p_usage -> 'attempts', jsonb_build_array(p_usage))) AS a (attempt)
    LOOP
        -- A class that the attempt does not name is 0. If the attempt is no object, || makes an array
        -- of the two; an array has no classes, so every figure below is NULL, and so is the charge.
        v_tokens := '{"input": 0, "output": 0, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0}'::jsonb
                    || v_attempt;
        v_price := COALESCE(p_price -> 'models' -> (v_attempt ->> 'model'), p_price);
        v_prompt := (v_tokens -> 'input')::numeric + (v_tokens -> 'cache_write_5m')::numeric
                    + (v_tokens -> 'cache_write_1h')::numeric + (v_tokens -> 'cache_read')::numeric;
        IF v_price -> 'tiers' IS NOT NULL THEN
            -- The last tier that the prompt is above; before all, one that does not say where it begins.
            SELECT t.tier, (t.tier -> 'above_input_tokens')::numeric INTO v_tier, v_above
              FROM jsonb_array_elements(v_price -> 'tiers') AS t (tier)
             WHERE ((t.tier -> 'above_input_tokens')::numeric < v_prompt) IS NOT FALSE
             ORDER BY 2 DESC NULLS FIRST LIMIT 1;
            IF FOUND AND v_above IS NULL THEN
                RETURN NULL;
            END IF;
            v_price := COALESCE(v_tier, v_price);
        END IF;
        v_millionths := v_millionths
            + (v_price -> 'input')::numeric * (v_tokens -> 'input')::numeric
            + (v_price -> 'output')::numeric * (v_tokens -> 'output')::numeric
            + (v_price -> 'cache_write_5m')::numeric * (v_tokens -> 'cache_write_5m')::numeric
            + (v_price -> 'cache_write_1h')::numeric * (v_tokens -> 'cache_write_1h')::numeric
            + (v_price -> 'cache_read')::numeric * (v_tokens -> 'cache_read')::numeric;
    END LOOP;
    -- Times a millionth, which is exact; a quotient would be rounded before ceil sees it.
    RETURN ceil(v_millionths * 0.000001);
EXCEPTION WHEN invalid_parameter_value THEN
    -- Text where a number or a list has to be.
    RETURN NULL;
END
$$;

--
-- Name: check_active(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_active(p_license_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_license obol.licenses;
BEGIN
    SELECT l.* INTO v_license FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF v_license.status <> 'active' THEN
        RAISE EXCEPTION 'INACTIVE_LICENSE: the license is %', v_license.status
            USING ERRCODE = 'OB413', HINT = 'Ask the operator to resume the license.';
    END IF;
    IF v_license.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'EXPIRED_LICENSE: the license expired at %', v_license.expires_at
            USING ERRCODE = 'OB423', HINT = 'Ask the operator for a new expiry or a new license.';
    END IF;
END
$$;

--
-- Name: check_admission(uuid, bytea, uuid, text, jsonb, text, bytea, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_admission(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_max_unpaid_tokens bigint) RETURNS TABLE(outcome text, hold_id uuid, amount bigint, state text, expires_at timestamp with time zone, available bigint, charge bigint, balance bigint, answer bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id, p_idempotency_key, p_fingerprint) r;
    IF FOUND THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id);
    PERFORM obol.check_limits(p_license_id, p_key_digest, p_model, 0, 0, 1, clock_timestamp());
    RETURN QUERY SELECT 'checked', NULL::uuid, NULL::bigint, NULL::text, NULL::timestamptz,
                        obol.admissible_amount(p_license_id, 0, NULL, p_model, p_price IS NOT NULL,
                                               p_max_unpaid_tokens),
                        NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

--
-- Name: check_key_maker(uuid, bytea, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_key_maker(p_license_id uuid, p_key_digest bytea, p_is_change boolean) RETURNS uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_key obol.license_keys;
    v_most integer;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    IF p_is_change THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    SELECT l.most_own_keys INTO v_most FROM obol.licenses l WHERE l.license_id = p_license_id;
    SELECT k.* INTO v_key FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    IF v_most = 0 THEN
        RAISE EXCEPTION 'KEYS_NOT_ALLOWED: this license may not make keys' USING ERRCODE = 'OB453',
            HINT = 'Ask the operator for a key, or to allow it.';
    END IF;
    IF v_key.made_by IS NOT NULL OR v_key.limits IS NOT NULL OR v_key.expires_at IS NOT NULL THEN
        RAISE EXCEPTION 'KEYS_NOT_ALLOWED: this key may not make keys' USING ERRCODE = 'OB453',
            HINT = 'Use a key that the operator made, without limits and without an end.';
    END IF;
    RETURN v_key.key_id;
END
$$;

--
-- Name: check_license(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_license(p_license_id uuid, p_key_digest bytea) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.check_active(p_license_id);
END
$$;

--
-- Name: check_license_key(uuid, bytea, timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_license_key(p_license_id uuid, p_key_digest bytea, p_or_at timestamp with time zone DEFAULT NULL::timestamp with time zone) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM FROM obol.license_key_validity k
      WHERE k.license_id = p_license_id
        AND k.key_digest = p_key_digest
        AND (k.valid_until > clock_timestamp()
             OR (k.valid_from <= p_or_at AND k.valid_until > p_or_at));
    IF NOT FOUND THEN
        RAISE EXCEPTION 'INVALID_LICENSE: the license key is not valid'
            USING ERRCODE = 'OB403';
    END IF;
END
$$;

--
-- Name: check_limits(uuid, bytea, text, bigint, bigint, integer, timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_limits(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_amount bigint := p_amount;
    v_limit record;
    v_needed bigint;
BEGIN
    PERFORM obol.check_active(p_license_id);
    FOR v_limit IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l
                    WHERE l.limits ? 'models' AND p_model IS NOT NULL LOOP
        PERFORM FROM jsonb_array_elements_text(v_limit.limits -> 'models') AS m (pattern)
          WHERE p_model = m.pattern
             OR (right(m.pattern, 1) = '*' AND starts_with(p_model, left(m.pattern, -1)));
        IF NOT FOUND THEN
            RAISE EXCEPTION 'MODEL_NOT_ALLOWED: the % may not use the model %', v_limit.limit_of, p_model
                USING ERRCODE = 'OB443',
                      DETAIL = jsonb_build_object('limit', 'models', 'limit_of', v_limit.limit_of,
                                                  'allowed', v_limit.limits -> 'models'),
                      HINT = 'Use a model that is allowed, or another key.';
        END IF;
    END LOOP;
    FOR v_limit IN SELECT l.* FROM obol.describe_limits(p_license_id, p_key_digest, p_now) l LOOP
        v_needed := CASE v_limit.limit_name WHEN 'requests_per_minute' THEN 1
                                            WHEN 'concurrent_holds' THEN p_holds
                                            ELSE p_min_amount END;
        IF v_limit.used + v_needed > v_limit.limit_value AND v_needed > 0 THEN
            RAISE EXCEPTION 'LIMIT_EXCEEDED: the limit % of the % is %, of which % are used and % more are needed',
                    v_limit.limit_name, v_limit.limit_of, v_limit.limit_value, v_limit.used, v_needed
                USING ERRCODE = 'OB429',
                      DETAIL = jsonb_build_object(
                          'limit', v_limit.limit_name, 'limit_of', v_limit.limit_of, 'limit_value', v_limit.limit_value,
                          'used', v_limit.used, 'retry_after_s', v_limit.retry_after_s),
                      HINT = CASE WHEN v_needed > v_limit.limit_value
                                  THEN 'It is more than the limit allows at all: ask for less, or have the limit raised.'
                                  ELSE format('Ask again in %s s.', v_limit.retry_after_s) END;
        END IF;
        IF v_limit.limit_name IN ('credits_per_day', 'credits_per_month') THEN
            v_amount := LEAST(v_amount, GREATEST(v_limit.limit_value - v_limit.used, 0));
        END IF;
    END LOOP;
    RETURN v_amount;
END
$$;

--
-- Name: check_reader(uuid, bytea, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_reader(p_license_id uuid, p_digest bytea, p_token_digest bytea) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF p_digest IS NOT NULL THEN
        PERFORM obol.check_license_key(p_license_id, p_digest);
        RETURN;
    END IF;
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

--
-- Name: check_room(uuid, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_room(p_license_id uuid, p_amount bigint) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    c_most constant bigint := 9223372036854775807;
BEGIN
    PERFORM FROM obol.grants g
      WHERE g.license_id = p_license_id AND g.credits_left > 0
     HAVING sum(g.credits_left) > c_most - p_amount;
    IF FOUND THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the balance would pass % credits', c_most USING ERRCODE = 'OB400';
    END IF;
END
$$;

--
-- Name: check_token(bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.check_token(p_token_digest bytea, p_scope text) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_token obol.admin_tokens;
BEGIN
    -- current_user is the owner of this function, and session_user who has logged in.
    IF p_token_digest IS NULL AND pg_has_role(session_user, current_user, 'MEMBER') THEN
        RETURN 'cli:' || session_user;
    END IF;
    SELECT t.* INTO v_token FROM obol.admin_tokens t
     WHERE t.token_digest = p_token_digest
       AND t.revoked_at IS NULL
       AND (t.expires_at IS NULL OR t.expires_at > clock_timestamp());
    IF NOT FOUND THEN
        RAISE EXCEPTION 'ADMIN_FORBIDDEN: the admin token is not valid' USING ERRCODE = 'OB433';
    END IF;
    IF (p_scope = ANY (v_token.scopes)) IS NOT TRUE THEN
        RAISE EXCEPTION 'ADMIN_FORBIDDEN: the admin token lacks the scope %', p_scope
            USING ERRCODE = 'OB433', DETAIL = jsonb_build_object('scope', p_scope),
                  HINT = 'Use a token that has it.';
    END IF;
    RETURN 'token:' || v_token.name;
END
$$;

--
-- Name: claim_delivery(uuid, uuid, uuid, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.claim_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_lease_s integer) RETURNS TABLE(event_id uuid, type text, data jsonb, created_at timestamp with time zone, kind text, url text, secret bytea, old_secret bytea, email text, is_failing boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
    v_webhook obol.webhooks;
    v_event_no bigint;
BEGIN
    SELECT w.* INTO v_webhook FROM obol.webhooks w
     WHERE w.webhook_id = p_webhook_id AND w.paused_at IS NULL AND w.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM FROM obol.delivery_queues q
      WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id
       -- Or it is asked again, because the first reply was lost.
       AND (q.next_attempt_at <= v_now OR q.claim_id = p_claim_id)
        FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- A mail that comes days late misleads, and where no mail is sent the events of months wait.
    UPDATE obol.deliveries d
       SET state = 'failed', last_error = 'too old for a mail'
      FROM obol.events e
     WHERE v_webhook.kind = 'email'
       AND d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting'
       AND e.license_id = p_license_id AND e.event_no = d.event_no AND e.created_at < v_now - interval '3 days';
    SELECT min(d.event_no) INTO v_event_no FROM obol.deliveries d
     WHERE d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting';
    UPDATE obol.delivery_queues q
       SET claim_id = CASE WHEN v_event_no IS NOT NULL THEN p_claim_id END, event_no = v_event_no,
           next_attempt_at = CASE WHEN v_event_no IS NOT NULL
                                  THEN v_now + make_interval(secs => LEAST(GREATEST(p_lease_s, 1), 600)) END
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id;
    -- Here and not when it ends: one whose process dies of it has been tried all the same.
    UPDATE obol.deliveries d
       SET attempts = d.attempts + 1, first_attempt_at = COALESCE(d.first_attempt_at, v_now), last_attempt_at = v_now
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    RETURN QUERY
        SELECT e.event_id, e.type, e.data, e.created_at, v_webhook.kind, v_webhook.url, v_webhook.secret,
               CASE WHEN v_webhook.old_secret_until > v_now THEN v_webhook.old_secret END,
               (SELECT l.email FROM obol.licenses l WHERE l.license_id = p_license_id AND v_webhook.kind = 'email'),
               v_webhook.failing_since IS NOT NULL
          FROM obol.events e WHERE e.license_id = p_license_id AND e.event_no = v_event_no;
END
$$;

--
-- Name: claim_idempotency_key(uuid, text, text, bytea, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.claim_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea, p_cause_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
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

--
-- Name: count_end(obol.holds, bigint, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.count_end(p_hold obol.holds, p_credits bigint, p_holds integer) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_day date := (p_hold.opened_at AT TIME ZONE 'UTC')::date;
    v_month date := date_trunc('month', p_hold.opened_at AT TIME ZONE 'UTC')::date;
BEGIN
    UPDATE obol.limit_states s
       SET open_holds = s.open_holds + p_holds,
           day_credits = s.day_credits + CASE WHEN s.day = v_day THEN p_credits ELSE 0 END,
           month_credits = s.month_credits + CASE WHEN s.month = v_month THEN p_credits ELSE 0 END
     WHERE s.license_id = p_hold.license_id AND s.subject_id = ANY (p_hold.limited_by);
END
$$;

--
-- Name: count_use(uuid, bytea, text, bigint, bigint, integer, timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.count_use(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone) RETURNS TABLE(amount bigint, limited_by uuid[])
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_amount bigint := obol.check_limits(p_license_id, p_key_digest, p_model, p_amount, p_min_amount, p_holds, p_now);
    v_day date := (p_now AT TIME ZONE 'UTC')::date;
    v_month date := date_trunc('month', p_now AT TIME ZONE 'UTC')::date;
    v_subject record;
    v_call interval;
    v_limited_by uuid[];
BEGIN
    FOR v_subject IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l WHERE l.is_counted LOOP
        -- Null, and then no time passes, where calls are not limited.
        v_call := make_interval(
            secs => ceil(60000000.0 / (v_subject.limits ->> 'requests_per_minute')::bigint) / 1000000);
        INSERT INTO obol.limit_states AS s
               (license_id, subject_id, next_call_at, open_holds, day, day_credits, month, month_credits)
        VALUES (p_license_id, v_subject.subject_id, COALESCE(p_now + v_call, '-infinity'), p_holds,
                v_day, v_amount, v_month, v_amount)
        ON CONFLICT (license_id, subject_id) DO UPDATE
           SET next_call_at = COALESCE(GREATEST(s.next_call_at, p_now) + v_call, s.next_call_at),
               open_holds = s.open_holds + p_holds,
               day = v_day,
               day_credits = CASE WHEN s.day = v_day THEN s.day_credits ELSE 0 END + v_amount,
               month = v_month,
               month_credits = CASE WHEN s.month = v_month THEN s.month_credits ELSE 0 END + v_amount;
        v_limited_by := v_limited_by || v_subject.subject_id;
    END LOOP;
    RETURN QUERY SELECT v_amount, v_limited_by;
END
$$;

--
-- Name: count_waiting(boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.count_waiting(p_with_email boolean) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN (SELECT count(*) FROM obol.deliveries d JOIN obol.webhooks w ON w.webhook_id = d.webhook_id
             WHERE d.state = 'waiting' AND w.deleted_at IS NULL AND (w.kind = 'http' OR p_with_email));
END
$$;

--
-- Name: create_key(uuid, uuid, bytea, text, timestamp with time zone, jsonb, text, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_key(p_license_id uuid, p_key_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_key obol.idempotency_keys;
    v_now timestamptz;
    v_limits jsonb;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    IF v_key.cause_id IS NOT NULL THEN
        RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                       FROM obol.license_keys k
                      WHERE k.license_id = p_license_id AND k.key_id = v_key.cause_id;
        RETURN;
    END IF;
    IF p_expires_at <= v_now THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'), HINT = 'Name a later time.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, NULL, p_limits);
    INSERT INTO obol.license_keys (license_id, key_digest, created_at, expires_at, key_id, name, limits)
    VALUES (p_license_id, p_key_digest, v_now, p_expires_at, p_key_id, p_name, v_limits)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, p_key_id);
        END IF;
        PERFORM obol.note_act(p_license_id, v_actor, 'create_key', p_key_id::text, jsonb_build_object(
            'name', p_name, 'expires_at', p_expires_at, 'limits', v_limits), p_request_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.key_digest = p_key_digest;
END
$$;

--
-- Name: create_license(uuid, bytea, text, timestamp with time zone, bigint, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_license(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_fingerprint bytea) RETURNS TABLE(license_id uuid, balance bigint, created boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    END IF;

    INSERT INTO obol.licenses (license_id, name, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_expires_at, p_fingerprint, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        INSERT INTO obol.license_keys (license_id, key_digest, created_at)
        VALUES (p_license_id, p_key_digest, clock_timestamp());
        IF p_credits > 0 THEN
            PERFORM obol.grant_credits(p_license_id, p_license_id, p_credits, NULL, NULL, 'opening grant');
        END IF;
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

--
-- Name: create_license_v2(uuid, bytea, text, timestamp with time zone, bigint, text, jsonb, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_license_v2(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_external_id text, p_limits jsonb, p_fingerprint bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, balance bigint, created boolean, key_id uuid)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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

    INSERT INTO obol.licenses (license_id, name, expires_at, fingerprint, created_at, limits)
    VALUES (p_license_id, p_name, p_expires_at, p_fingerprint, clock_timestamp(),
            obol.merge_limits(p_license_id, NULL, p_limits))
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
            'name', p_name, 'credits', p_credits, 'expires_at', p_expires_at, 'external_id', p_external_id, 'limits', p_limits), p_request_id);
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
                        WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest),
               (SELECT k.key_id FROM obol.license_keys k WHERE k.license_id = p_license_id
                 ORDER BY k.created_at, k.key_id LIMIT 1)
          FROM obol.licenses l WHERE l.license_id = p_license_id;
END
$$;

--
-- Name: create_own_key(uuid, bytea, uuid, bytea, text, timestamp with time zone, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_new_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb) RETURNS TABLE(is_new boolean, key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_maker uuid;
    v_limits jsonb := obol.merge_limits(p_license_id, NULL, p_limits);
    v_now timestamptz;
    v_key obol.license_keys;
    v_good bigint;
    v_most integer;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_maker := obol.check_key_maker(p_license_id, p_key_digest, true);
    SELECT k.* INTO v_key FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    IF FOUND THEN
        IF (v_key.name, v_key.expires_at, v_key.limits) IS DISTINCT FROM (p_name, p_expires_at, v_limits) THEN
            RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key made a key with other values'
                USING ERRCODE = 'OB422', HINT = 'Use a new idempotency key for a new key.';
        END IF;
    ELSE
        SELECT count(*) INTO v_good
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL
           AND (k.expires_at IS NULL OR k.expires_at > v_now);
        SELECT l.most_own_keys INTO v_most FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF v_good >= v_most THEN
            RAISE EXCEPTION 'KEYS_NOT_ALLOWED: % keys are good already, and no more may be', v_good
                USING ERRCODE = 'OB453', HINT = 'Revoke one of them first, or ask the operator for more.';
        END IF;
        IF p_expires_at <= v_now THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'), HINT = 'Name a later time.';
        END IF;
        INSERT INTO obol.license_keys (license_id, key_digest, created_at, expires_at, key_id, name, limits, made_by)
        VALUES (p_license_id, p_new_digest, v_now, p_expires_at, p_key_id, p_name, v_limits, v_maker);
    END IF;
    RETURN QUERY SELECT v_key.key_id IS NULL, k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at,
                        k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

--
-- Name: create_token(uuid, bytea, text, text[], timestamp with time zone, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_token(p_token_id uuid, p_new_digest bytea, p_name text, p_scopes text[], p_expires_at timestamp with time zone, p_token_digest bytea, p_request_id text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'tokens');
    v_scope text;
BEGIN
    FOREACH v_scope IN ARRAY p_scopes LOOP
        PERFORM obol.check_token(p_token_digest, v_scope);
    END LOOP;
    IF p_expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or none.';
    END IF;
    INSERT INTO obol.admin_tokens (token_id, token_digest, name, scopes, created_at, expires_at)
    VALUES (p_token_id, p_new_digest, p_name, p_scopes, clock_timestamp(), p_expires_at)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'create_token', p_name, jsonb_build_object(
            'token_id', p_token_id, 'scopes', p_scopes, 'expires_at', p_expires_at), p_request_id);
        RETURN;
    END IF;
    PERFORM FROM obol.admin_tokens t WHERE t.token_id = p_token_id AND t.token_digest = p_new_digest;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: there is a token of the name %', p_name
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'name'),
                  HINT = 'Choose another name, or revoke that token first.';
    END IF;
END
$$;

--
-- Name: create_webhook(uuid, text, text, text[], bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.create_webhook(p_webhook_id uuid, p_url text, p_name text, p_types text[], p_secret bytea, p_token_digest bytea, p_request_id text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    c_most constant integer := 20;
    v_actor text := obol.check_token(p_token_digest, 'manage');
BEGIN
    IF (SELECT count(*) FROM obol.webhooks w WHERE w.deleted_at IS NULL AND w.kind = 'http') >= c_most THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: there are % webhooks already', c_most
            USING ERRCODE = 'OB400', HINT = 'Delete one that is not needed.';
    END IF;
    INSERT INTO obol.webhooks (webhook_id, kind, url, name, types, secret, created_at)
    VALUES (p_webhook_id, 'http', p_url, p_name, p_types, p_secret, clock_timestamp())
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'create_webhook', p_webhook_id::text, jsonb_build_object(
            'url', p_url, 'name', p_name, 'types', p_types), p_request_id);
    END IF;
END
$$;

--
-- Name: current_revision(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.current_revision() RETURNS text
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT v.version_num FROM obol.alembic_version v
$$;

--
-- Name: deduct(uuid, bytea, uuid, bigint, text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.deduct(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text) RETURNS TABLE(deduction_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    RETURN QUERY SELECT d.* FROM obol.book_deduction(p_license_id, p_key_digest, p_deduction_id, p_amount,
                                                     p_idempotency_key, p_fingerprint, p_reference, true) d;
END
$$;

--
-- Name: deduct_batch(uuid[], uuid[], bigint[], text[], bytea[], text[], bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.deduct_batch(p_license_ids uuid[], p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[], p_token_digest bytea, p_request_id text) RETURNS TABLE(item_no bigint, deduction_id uuid, amount bigint, balance bigint, refusal text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_now timestamptz;
    v_whole uuid[];
    v_item record;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    PERFORM FROM obol.licenses l WHERE l.license_id = ANY (p_license_ids) ORDER BY l.license_id FOR NO KEY UPDATE;
    v_now := clock_timestamp();
    SELECT COALESCE(array_agg(l.license_id), '{}') INTO v_whole
      FROM (SELECT i.license_id, sum(i.amount) AS amount
              FROM unnest(p_license_ids, p_amounts, p_idempotency_keys) AS i (license_id, amount, idempotency_key)
             GROUP BY i.license_id
            HAVING bool_and(i.amount > 0) AND count(DISTINCT i.idempotency_key) = count(*)) s
      JOIN obol.licenses l ON l.license_id = s.license_id
     WHERE l.status = 'active' AND (l.expires_at IS NULL OR l.expires_at > v_now)
       AND l.next_change_at > v_now AND l.limits IS NULL
       AND l.balance - l.held >= s.amount AND l.balance - s.amount > l.notify_below
       AND EXISTS (SELECT FROM obol.license_key_validity k WHERE k.license_id = l.license_id AND k.valid_until > v_now);
    -- What was asked before, with the same key or id, has its answer already.
    SELECT COALESCE(array_agg(w.license_id), '{}') INTO v_whole
      FROM unnest(v_whole) AS w (license_id)
     WHERE w.license_id NOT IN (
        SELECT i.license_id
          FROM unnest(p_license_ids, p_deduction_ids, p_idempotency_keys) AS i (license_id, deduction_id, idempotency_key)
         WHERE EXISTS (SELECT FROM obol.idempotency_keys k
                        WHERE k.license_id = i.license_id AND k.scope = 'license' AND k.idempotency_key = i.idempotency_key)
            OR EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.kind = 'deduction' AND e.cause_id = i.deduction_id));

    RETURN QUERY
    WITH items AS (
        SELECT i.*, row_number() OVER earlier AS place, sum(i.amount) OVER earlier AS used
          FROM unnest(v_whole) AS w (license_id)
          JOIN unnest(p_license_ids, p_deduction_ids, p_amounts, p_idempotency_keys, p_fingerprints, p_references)
               WITH ORDINALITY AS i (license_id, deduction_id, amount, idempotency_key, fingerprint, reference, item_no)
               ON i.license_id = w.license_id
        WINDOW earlier AS (PARTITION BY i.license_id ORDER BY i.item_no)
    ), changed AS (
        UPDATE obol.licenses l
           SET balance = l.balance - s.amount, entry_count = l.entry_count + s.items
          FROM (SELECT i.license_id, sum(i.amount)::bigint AS amount, count(*) AS items FROM items i GROUP BY 1) s
         WHERE l.license_id = s.license_id
        RETURNING l.license_id, l.balance + s.amount AS balance_before, l.entry_count - s.items AS entries_before
    ), booked AS (
        INSERT INTO obol.ledger_entries
               (license_id, entry_no, kind, amount, balance_after, cause_id, reference, created_at)
        SELECT i.license_id, c.entries_before + i.place, 'deduction', -i.amount, c.balance_before - i.used,
               i.deduction_id, i.reference, v_now
          FROM items i JOIN changed c ON c.license_id = i.license_id
    ), claimed AS (
        INSERT INTO obol.idempotency_keys (license_id, scope, idempotency_key, fingerprint, cause_id, claimed_at)
        SELECT i.license_id, 'license', i.idempotency_key, i.fingerprint, i.deduction_id, v_now FROM items i
    ), noted AS (
        INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail, request_id)
        SELECT v_now, v_actor, 'deduct', i.license_id, i.deduction_id::text,
               jsonb_build_object('amount', i.amount, 'reference', i.reference), p_request_id
          FROM items i ORDER BY i.item_no
    )
    SELECT i.item_no, i.deduction_id, i.amount, (c.balance_before - i.used)::bigint, NULL::text[]
      FROM items i JOIN changed c ON c.license_id = i.license_id;

    FOR v_item IN
        SELECT i.* FROM unnest(p_license_ids, p_deduction_ids, p_amounts, p_idempotency_keys, p_fingerprints, p_references)
               WITH ORDINALITY AS i (license_id, deduction_id, amount, idempotency_key, fingerprint, reference, item_no)
         WHERE i.license_id <> ALL (v_whole) ORDER BY i.license_id, i.item_no
    LOOP
        BEGIN
            RETURN QUERY SELECT v_item.item_no, d.deduction_id, d.amount, d.balance, NULL::text[]
              FROM obol.deduct_v2(v_item.license_id, v_item.deduction_id, v_item.amount, v_item.idempotency_key,
                                  v_item.fingerprint, v_item.reference, p_token_digest, p_request_id) d;
        EXCEPTION WHEN SQLSTATE 'OB000' THEN -- any of the class
            GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            RETURN QUERY SELECT v_item.item_no, v_item.deduction_id, v_item.amount, NULL::bigint,
                                ARRAY[SQLSTATE, v_message, v_detail, v_hint];
        END;
    END LOOP;
END
$$;

--
-- Name: deduct_credits(text, bigint, text, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.deduct_credits(license_key text, amount bigint, reference text DEFAULT NULL::text, idempotency_key text DEFAULT NULL::text) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $_$
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
$_$;

--
-- Name: deduct_several(uuid, bytea, uuid[], bigint[], text[], bytea[], text[]); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.deduct_several(p_license_id uuid, p_key_digest bytea, p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[]) RETURNS TABLE(item_no bigint, deduction_id uuid, amount bigint, balance bigint, refusal text[])
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_item record;
    v_message text;
    v_detail text;
    v_hint text;
BEGIN
    FOR v_item IN
        SELECT i.* FROM unnest(p_deduction_ids, p_amounts, p_idempotency_keys, p_fingerprints, p_references)
               WITH ORDINALITY AS i (deduction_id, amount, idempotency_key, fingerprint, reference, item_no)
    LOOP
        BEGIN
            RETURN QUERY SELECT v_item.item_no, d.deduction_id, d.amount, d.balance, NULL::text[]
              FROM obol.book_deduction(p_license_id, p_key_digest, v_item.deduction_id, v_item.amount,
                                       v_item.idempotency_key, v_item.fingerprint, v_item.reference, true) d;
        EXCEPTION WHEN SQLSTATE 'OB000' THEN -- any of the class
            GET STACKED DIAGNOSTICS v_message = MESSAGE_TEXT, v_detail = PG_EXCEPTION_DETAIL, v_hint = PG_EXCEPTION_HINT;
            RETURN QUERY SELECT v_item.item_no, v_item.deduction_id, v_item.amount, NULL::bigint,
                                ARRAY[SQLSTATE, v_message, v_detail, v_hint];
        END;
    END LOOP;
END
$$;

--
-- Name: deduct_v2(uuid, uuid, bigint, text, bytea, text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.deduct_v2(p_license_id uuid, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_token_digest bytea, p_request_id text) RETURNS TABLE(deduction_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_deduction_id uuid;
    v_is_booked boolean;
    v_amount bigint;
    v_balance bigint;
BEGIN
    -- Locked before it is looked whether this was done before, so that an act is told from the replay of one.
    PERFORM obol.lock_license(p_license_id);
    v_is_booked := EXISTS (SELECT FROM obol.ledger_entries e
                            WHERE e.license_id = p_license_id AND e.kind = 'deduction' AND e.cause_id = p_deduction_id);
    -- Any key of the license that is good; it is not what the caller is known by.
    SELECT d.deduction_id, d.amount, d.balance INTO v_deduction_id, v_amount, v_balance
      FROM obol.book_deduction(p_license_id, (SELECT k.key_digest FROM obol.license_key_validity k
                                       WHERE k.license_id = p_license_id ORDER BY k.valid_until DESC LIMIT 1),
                       p_deduction_id, p_amount, p_idempotency_key, p_fingerprint, p_reference, false) d;
    IF v_deduction_id = p_deduction_id AND NOT v_is_booked THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'deduct', v_deduction_id::text, jsonb_build_object(
            'amount', v_amount, 'reference', p_reference), p_request_id);
    END IF;
    RETURN QUERY SELECT v_deduction_id, v_amount, v_balance;
END
$$;

--
-- Name: delete_webhook(uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.delete_webhook(p_webhook_id uuid, p_token_digest bytea, p_request_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.webhooks w
       SET deleted_at = v_now, secret = '', old_secret = NULL, old_secret_until = NULL
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'delete_webhook', p_webhook_id::text, NULL, p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http';
    RETURN FOUND;
END
$$;

--
-- Name: describe_grants(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.describe_grants(p_license_id uuid) RETURNS TABLE(grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint, starts_at timestamp with time zone, expires_at timestamp with time zone, state text, reason text, reference text, created_at timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
        SELECT g.grant_id, g.amount, g.credits_left - COALESCE(o.used, 0), g.lapsed, g.priority,
               g.starts_at, g.expires_at,
               CASE WHEN g.voided_at IS NOT NULL THEN 'voided'
                    WHEN g.credits_left = COALESCE(o.used, 0) AND g.lapsed = 0 THEN 'used_up'
                    WHEN g.expires_at <= v_now THEN 'expired'
                    WHEN g.starts_at > v_now THEN 'scheduled'
                    -- A part of it was taken back, and the rest is used up.
                    WHEN g.credits_left = COALESCE(o.used, 0) THEN 'used_up'
                    ELSE 'active' END,
               g.reason, g.reference, g.created_at
          FROM obol.grants g
          LEFT JOIN obol.list_open_grants(p_license_id) o ON o.grant_id = g.grant_id
         WHERE g.license_id = p_license_id;
END
$$;

--
-- Name: describe_limits(uuid, bytea, timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.describe_limits(p_license_id uuid, p_key_digest bytea, p_now timestamp with time zone) RETURNS TABLE(limit_of text, limit_name text, limit_value bigint, used numeric, retry_after_s integer)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_utc timestamp := p_now AT TIME ZONE 'UTC';
    v_day date := v_utc::date;
    v_month date := date_trunc('month', v_utc)::date;
    v_subject record;
    v_state obol.limit_states;
    v_wait_us numeric;
    v_call_us numeric;
BEGIN
    FOR v_subject IN SELECT l.* FROM obol.list_limits(p_license_id, p_key_digest) l WHERE l.is_counted LOOP
        SELECT s.* INTO v_state FROM obol.limit_states s
         WHERE s.license_id = p_license_id AND s.subject_id = v_subject.subject_id;
        v_call_us := ceil(60000000.0 / (v_subject.limits ->> 'requests_per_minute')::bigint);
        v_wait_us := extract(epoch FROM GREATEST(v_state.next_call_at, p_now) - p_now) * 1000000;
        RETURN QUERY
            SELECT v_subject.limit_of, w.limit_name, (v_subject.limits ->> w.limit_name)::bigint, w.used,
                   GREATEST(1, ceil(w.wait_s))::integer
              FROM (VALUES
                  ('requests_per_minute', ceil(v_wait_us / v_call_us),
                   (v_wait_us - ((v_subject.limits ->> 'requests_per_minute')::bigint - 1) * v_call_us) / 1000000),
                  ('concurrent_holds', COALESCE(v_state.open_holds, 0), 1),
                  ('credits_per_day', CASE WHEN v_state.day = v_day THEN v_state.day_credits ELSE 0 END,
                   extract(epoch FROM v_day + interval '1 day' - v_utc)),
                  ('credits_per_month', CASE WHEN v_state.month = v_month THEN v_state.month_credits ELSE 0 END,
                   extract(epoch FROM v_month + interval '1 month' - v_utc))
              ) AS w (limit_name, used, wait_s)
             WHERE v_subject.limits ? w.limit_name;
    END LOOP;
END
$$;

--
-- Name: digest_acts(bigint, bigint, integer, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.digest_acts(p_after bigint, p_through bigint, p_blocks integer, p_state bytea) RETURNS TABLE(state bytea, through bigint, total bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    c_block constant numeric := 1000;
    v_first bigint;
    v_block bytea;
    v_count bigint;
BEGIN
    state := p_state;
    through := p_after;
    total := 0;
    FOR v_number IN 1..p_blocks LOOP
        SELECT min(a.act_no) INTO v_first FROM obol.admin_acts a WHERE a.act_no > through AND a.act_no <= p_through;
        IF v_first IS NULL THEN
            through := p_through;
            EXIT;
        END IF;
        through := LEAST(ceil(v_first / c_block) * c_block, p_through);
        SELECT convert_to(string_agg(json_build_array(
                   a.act_no, (extract(epoch FROM a.acted_at) * 1000000)::bigint, a.actor, a.act, a.license_id, a.target,
                   a.detail, a.request_id)::text, E'\n' ORDER BY a.act_no), 'UTF8'), count(*)
          INTO v_block, v_count
          FROM obol.admin_acts a
         WHERE a.act_no >= v_first AND a.act_no <= through;
        state := sha256(state || v_block);
        total := total + v_count;
    END LOOP;
    RETURN NEXT;
END
$$;

--
-- Name: digest_entries(uuid, bigint, bigint, integer, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.digest_entries(p_license_id uuid, p_after bigint, p_through bigint, p_blocks integer, p_state bytea) RETURNS TABLE(state bytea, through bigint, total bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    c_block constant numeric := 1000;
    v_first bigint;
    v_block bytea;
    v_count bigint;
BEGIN
    state := p_state;
    through := p_after;
    total := 0;
    FOR v_number IN 1..p_blocks LOOP
        SELECT min(e.entry_no) INTO v_first FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no > through AND e.entry_no <= p_through;
        IF v_first IS NULL THEN
            through := p_through;
            EXIT;
        END IF;
        through := LEAST(ceil(v_first / c_block) * c_block, p_through);
        -- Times as microseconds, because text depends on the session's zone.
        SELECT convert_to(string_agg(json_build_array(
                   e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id, e.part_id, e.key_id, e.reference, e.model, e.price,
                   e.usage, e.shortfall, (extract(epoch FROM e.created_at) * 1000000)::bigint)::text, E'\n'
                   ORDER BY e.entry_no), 'UTF8'), count(*)
          INTO v_block, v_count
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no >= v_first AND e.entry_no <= through;
        state := sha256(state || v_block);
        total := total + v_count;
    END LOOP;
    RETURN NEXT;
END
$$;

--
-- Name: disagreement_of(jsonb, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.disagreement_of(p_payment jsonb, p_object jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_kind text := p_object ->> 'object';
    -- It can be of a part, and does not say of what.
    v_is_of_a_part boolean := v_kind IN ('dispute', 'refund');
    v_amount text := CASE v_kind WHEN 'checkout.session' THEN p_object ->> 'amount_total' ELSE p_object ->> 'amount' END;
BEGIN
    IF p_object ->> 'currency' IS DISTINCT FROM p_payment ->> 'currency' THEN
        RETURN format('currency is %s, and not %s', p_object ->> 'currency', p_payment ->> 'currency');
    ELSIF v_amount IS NULL OR (NOT v_is_of_a_part AND v_amount <> p_payment ->> 'price') THEN
        RETURN format('amount is %s, and not %s', v_amount, p_payment ->> 'price');
    ELSIF NOT v_is_of_a_part AND p_object #>> '{metadata,package_id}' IS DISTINCT FROM p_payment ->> 'package_id' THEN
        RETURN format('package is %s, and not %s', p_object #>> '{metadata,package_id}', p_payment ->> 'package_id');
    ELSIF v_kind = 'checkout.session' AND p_object ->> 'id' <> p_payment ->> 'session_id' THEN
        RETURN format('session is %s, and not %s', p_object ->> 'id', p_payment ->> 'session_id');
    ELSIF p_object ->> 'payment_intent' <> p_payment ->> 'payment_intent' THEN
        RETURN format('payment intent is %s, and not %s', p_object ->> 'payment_intent', p_payment ->> 'payment_intent');
    END IF;
    RETURN NULL;
END
$$;

--
-- Name: dispute_state(text, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.dispute_state(p_type text, p_object jsonb) RETURNS text
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    v_status text := p_object ->> 'status';
    v_moved numeric := (SELECT sum((m.value ->> 'amount')::numeric)
                          FROM jsonb_path_query(p_object, '$.balance_transactions[*]') m (value));
BEGIN
    RETURN CASE WHEN v_status = 'prevented' AND v_moved < 0 THEN 'lost'
                WHEN v_status = 'prevented' AND v_moved IS NULL
                     AND p_object #>> '{payment_method_details,card,case_type}' = 'resolution' THEN 'lost'
                WHEN v_status = 'prevented' THEN 'prevented'
                WHEN p_type = 'charge.dispute.closed' AND v_status IN ('won', 'warning_closed') THEN 'won'
                WHEN p_type = 'charge.dispute.closed' THEN 'lost'
                WHEN v_status LIKE 'warning%' THEN 'inquiry'
                ELSE 'open' END;
END
$_$;

--
-- Name: due_archives(timestamp with time zone, uuid, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_archives(p_before timestamp with time zone, p_after uuid, p_limit integer) RETURNS TABLE(license_id uuid)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id
          FROM obol.licenses l
          LEFT JOIN obol.archived a ON a.license_id = l.license_id
          JOIN obol.ledger_entries e ON e.license_id = l.license_id AND e.entry_no = COALESCE(a.last_entry_no, 0) + 1
         WHERE e.created_at < p_before AND (p_after IS NULL OR l.license_id > p_after)
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

--
-- Name: due_changes(integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_changes(p_most integer DEFAULT 1000) RETURNS TABLE(license_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY SELECT l.license_id FROM obol.licenses l
                  WHERE l.next_change_at <= clock_timestamp() AND l.next_change_at < 'infinity'
                  ORDER BY l.next_change_at LIMIT p_most;
END
$$;

--
-- Name: due_deliveries(integer, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_deliveries(p_most integer, p_with_email boolean) RETURNS TABLE(license_id uuid, webhook_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_webhook record;
BEGIN
    FOR v_webhook IN
        SELECT w.webhook_id, CASE WHEN w.failing_since IS NULL THEN p_most ELSE 1 END AS most
          FROM obol.webhooks w
         WHERE w.paused_at IS NULL AND w.deleted_at IS NULL AND (w.kind = 'http' OR p_with_email)
         ORDER BY w.failing_since NULLS FIRST
    LOOP
        RETURN QUERY SELECT q.license_id, q.webhook_id FROM obol.delivery_queues q
                      WHERE q.webhook_id = v_webhook.webhook_id AND q.next_attempt_at <= v_now
                      ORDER BY q.next_attempt_at LIMIT v_webhook.most;
    END LOOP;
END
$$;

--
-- Name: due_expiring(integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_expiring(p_most integer DEFAULT 1000) RETURNS TABLE(license_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY SELECT DISTINCT g.license_id FROM obol.grants g
                  WHERE g.credits_left > 0 AND g.expires_at IS NOT NULL AND g.voided_at IS NULL
                    AND g.expiry_told_at IS NULL
                    AND g.expires_at > v_now AND g.expires_at <= v_now + interval '7 days'
                    AND g.starts_at + (g.expires_at - g.starts_at) * 0.75 <= v_now
                  LIMIT p_most;
END
$$;

--
-- Name: due_holds(uuid, uuid[], timestamp with time zone, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_holds(p_process_id uuid, p_live_holds uuid[], p_orphans_before timestamp with time zone, p_most integer DEFAULT 1000) RETURNS TABLE(license_id uuid, hold_ids uuid[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_alive uuid[];
BEGIN
    SELECT COALESCE(array_agg(p.process_id), '{}') INTO v_alive
      FROM obol.processes p WHERE p.lease_expires_at > v_now;
    RETURN QUERY
        SELECT due.license_id, array_agg(due.hold_id)
          FROM (SELECT h.license_id, h.hold_id
                  FROM obol.holds h
                 WHERE h.state = 'held'
                   AND CASE
                           WHEN h.process_id IS NULL THEN h.expires_at <= v_now
                           WHEN h.process_id = p_process_id THEN
                               h.opened_at < p_orphans_before AND h.hold_id <> ALL (p_live_holds)
                           -- What was opened after v_now may belong to a process that began after it.
                           ELSE h.opened_at < v_now AND h.process_id <> ALL (v_alive)
                       END
                 ORDER BY h.license_id, h.hold_id LIMIT p_most) due
         GROUP BY due.license_id
         ORDER BY due.license_id;
END
$$;

--
-- Name: due_owed(integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_owed(p_most integer DEFAULT 1000) RETURNS TABLE(license_id uuid, payment_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT p.license_id, p.payment_id
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
          JOIN obol.licenses l ON l.license_id = p.license_id
         WHERE (p.refunded > 0 OR p.disputes <> '{}') AND s.owed > 0 AND l.balance > l.held
           AND EXISTS (SELECT FROM obol.payment_grants o
                         JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
                        WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id
                          AND g.credits_left > 0 AND g.voided_at IS NULL)
         LIMIT p_most;
END
$$;

--
-- Name: due_rollups(integer, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_rollups(p_least integer, p_most integer) RETURNS TABLE(license_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY SELECT l.license_id
                   FROM obol.licenses l
                   LEFT JOIN obol.usage_watermarks w ON w.license_id = l.license_id
                  WHERE l.entry_count - COALESCE(w.entry_no, 0) >= p_least
                  LIMIT p_most;
END
$$;

--
-- Name: due_rollups_v2(integer, integer, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_rollups_v2(p_least integer, p_most integer, p_within_s integer) RETURNS TABLE(license_id uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_since timestamptz := clock_timestamp() - make_interval(secs => p_within_s);
BEGIN
    -- In an order, so that the tables are read one after the other, which takes a tenth of the time of a row at a time.
    -- Who has few entries in all is not looked for in the second.
    IF v_since IS NULL THEN
        RETURN QUERY SELECT l.license_id
                       FROM obol.licenses l
                       LEFT JOIN obol.usage_watermarks w ON w.license_id = l.license_id
                      WHERE l.entry_count >= p_least AND l.entry_count - COALESCE(w.entry_no, 0) >= p_least
                      ORDER BY l.entry_count - COALESCE(w.entry_no, 0) DESC
                      LIMIT p_most;
        RETURN;
    END IF;
    RETURN QUERY SELECT l.license_id
                   FROM (SELECT DISTINCT e.license_id FROM obol.ledger_entries e WHERE e.created_at >= v_since) r
                   JOIN obol.licenses l ON l.license_id = r.license_id
                   LEFT JOIN obol.usage_watermarks w ON w.license_id = l.license_id
                  WHERE l.entry_count >= p_least AND l.entry_count - COALESCE(w.entry_no, 0) >= p_least
                  ORDER BY l.entry_count - COALESCE(w.entry_no, 0) DESC
                  LIMIT p_most;
END
$$;

--
-- Name: due_undelivered(integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.due_undelivered(p_most integer DEFAULT 1000) RETURNS TABLE(license_id uuid, hold_ids uuid[])
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_alive uuid[];
BEGIN
    SELECT COALESCE(array_agg(p.process_id), '{}') INTO v_alive
      FROM obol.processes p WHERE p.lease_expires_at > v_now;
    RETURN QUERY
        SELECT due.license_id, array_agg(due.hold_id)
          FROM (SELECT u.license_id, u.hold_id
                  FROM obol.undelivered_holds u
                  JOIN obol.holds h ON h.license_id = u.license_id AND h.hold_id = u.hold_id
                 WHERE u.settled_at > v_now - interval '7 days'
                   AND (u.settled_at <= v_now - interval '1 hour' OR h.process_id <> ALL (v_alive))
                   AND NOT EXISTS (SELECT FROM obol.events e
                                    WHERE e.license_id = u.license_id AND e.type = 'answer.undelivered'
                                      AND e.cause_id = u.hold_id)
                 ORDER BY u.license_id, u.hold_id LIMIT GREATEST(p_most, 0)) due
         GROUP BY due.license_id
         ORDER BY due.license_id;
END
$$;

--
-- Name: end_delivery(uuid, uuid, uuid, boolean, integer, text, integer, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.end_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_is_delivered boolean, p_status integer, p_error text, p_retry_after_s integer, p_is_final boolean) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    c_longest_s constant integer := 28800;
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_error, 300);
    v_event_no bigint;
    v_delivery obol.deliveries;
    v_state text;
    v_delay_s double precision;
    v_next timestamptz;
BEGIN
    SELECT q.event_no INTO v_event_no FROM obol.delivery_queues q
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id AND q.claim_id = p_claim_id
       FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    SELECT d.* INTO v_delivery FROM obol.deliveries d
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    v_state := CASE WHEN p_is_delivered THEN 'delivered'
                    WHEN p_is_final OR v_delivery.first_attempt_at <= v_now - interval '3 days' THEN 'failed'
                    ELSE 'waiting' END;
    UPDATE obol.deliveries d
       SET state = v_state, last_status = p_status, last_error = v_error
     WHERE d.license_id = p_license_id AND d.event_no = v_event_no AND d.webhook_id = p_webhook_id;
    IF v_state = 'waiting' THEN
        v_delay_s := LEAST(5 * power(4, LEAST(v_delivery.attempts, 20) - 1), c_longest_s) * (0.8 + 0.4 * random());
        -- The last one is when the three days are over.
        v_next := LEAST(v_now + make_interval(secs => GREATEST(v_delay_s, LEAST(COALESCE(p_retry_after_s, 0), c_longest_s))),
                        GREATEST(v_delivery.first_attempt_at + interval '3 days', v_now));
    ELSE
        SELECT v_now INTO v_next FROM obol.deliveries d
         WHERE d.license_id = p_license_id AND d.webhook_id = p_webhook_id AND d.state = 'waiting' LIMIT 1;
    END IF;
    UPDATE obol.delivery_queues q
       SET claim_id = NULL, event_no = NULL, next_attempt_at = v_next
     WHERE q.license_id = p_license_id AND q.webhook_id = p_webhook_id;
    RETURN v_state;
END
$$;

--
-- Name: end_package(text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.end_package(p_package_id text, p_token_digest bytea, p_request_id text) RETURNS TABLE(package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint, is_active boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.packages k SET is_active = false, changed_at = v_now
     WHERE k.package_id = p_package_id AND k.is_active;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'end_package', p_package_id, NULL, p_request_id);
    END IF;
    RETURN QUERY SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
                   FROM obol.packages k WHERE k.package_id = p_package_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'PACKAGE_NOT_FOUND: there is no package %', p_package_id USING ERRCODE = 'OB425';
    END IF;
END
$$;

--
-- Name: entry_span(uuid, timestamp with time zone, timestamp with time zone, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.entry_span(p_license_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(after_no bigint, through_no bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_bounds bigint[];
    v_count bigint;
    v_archived bigint;
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_at timestamptz;
    v_is_before boolean;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT l.entry_count, COALESCE(a.last_entry_no, 0) INTO v_count, v_archived
      FROM obol.licenses l
      LEFT JOIN obol.archived a ON a.license_id = l.license_id
     WHERE l.license_id = p_license_id;
    FOREACH v_at IN ARRAY ARRAY[COALESCE(p_from, '-infinity') - interval '1 hour',
                                COALESCE(p_to, 'infinity') + interval '1 hour'] LOOP
        -- The last entry before v_at is in [v_low, v_high]; v_archived: there is none.
        v_low := v_archived;
        v_high := v_count;
        WHILE v_low < v_high LOOP
            v_middle := v_low + (v_high - v_low + 1) / 2;
            SELECT e.created_at < v_at INTO v_is_before FROM obol.ledger_entries e
             WHERE e.license_id = p_license_id AND e.entry_no = v_middle;
            IF v_is_before THEN
                v_low := v_middle;
            ELSE
                v_high := v_middle - 1;
            END IF;
        END LOOP;
        v_bounds := v_bounds || v_low;
    END LOOP;
    RETURN QUERY SELECT v_bounds[1], GREATEST(v_bounds[1], v_bounds[2]);
END
$$;

--
-- Name: expire_holds(uuid, uuid[]); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[]) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '500ms'
    AS $$
BEGIN
    RETURN obol.expire_holds_v2(p_license_id, p_hold_ids, NULL);
END
$$;

--
-- Name: expire_holds_v2(uuid, uuid[], uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.expire_holds_v2(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '500ms'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_alive uuid[];
    v_due uuid[];
    v_hold obol.holds;
    v_given_back bigint;
    v_ended bigint := 0;
    v_count integer := 0;
BEGIN
    SELECT COALESCE(array_agg(p.process_id), '{}') INTO v_alive
      FROM obol.processes p WHERE p.lease_expires_at > v_now;
    -- Nothing that makes a hold due passes again, so this need not be looked at under the lock.
    SELECT COALESCE(array_agg(h.hold_id), '{}') INTO v_due
      FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.state = 'held'
       AND CASE WHEN h.process_id IS NULL THEN h.expires_at <= v_now
                WHEN h.process_id = p_process_id THEN true
                -- What was opened after v_now may belong to a process that began after it.
                ELSE h.opened_at < v_now AND h.process_id <> ALL (v_alive)
           END;

    -- License first, then hold, as everywhere. The sum may be stale after a wait for this lock:
    -- it is compared below with what was ended, and taken back where the two differ.
    UPDATE obol.licenses l
       SET held = l.held - due.amount
      FROM (SELECT sum(h.amount)::bigint AS amount
              FROM obol.holds h
             WHERE h.license_id = p_license_id AND h.hold_id = ANY (v_due) AND h.state = 'held') due
     WHERE l.license_id = p_license_id AND l.held >= due.amount
    RETURNING due.amount INTO v_given_back;

    FOR v_hold IN
        UPDATE obol.holds h
           SET state = 'expired', ended_at = v_now
         WHERE h.license_id = p_license_id AND h.hold_id = ANY (v_due) AND h.state = 'held'
        RETURNING h.*
    LOOP
        PERFORM obol.free_idempotency_key(v_hold);
        IF v_hold.limited_by IS NOT NULL THEN
            PERFORM obol.count_end(v_hold, -v_hold.amount, -1);
        END IF;
        v_ended := v_ended + v_hold.amount;
        v_count := v_count + 1;
    END LOOP;
    IF v_ended <> COALESCE(v_given_back, 0) THEN
        PERFORM obol.ask_again('a hold ended');
    END IF;
    RETURN v_count;
END
$$;

--
-- Name: find_hold(uuid, bytea, uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.find_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid) RETURNS obol.holds
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_hold obol.holds;
BEGIN
    SELECT h.* INTO v_hold FROM obol.holds h
     WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id
       AND h.process_id IS NOT DISTINCT FROM p_process_id;
    PERFORM obol.check_license_key(p_license_id, p_key_digest, v_hold.opened_at);
    IF v_hold.hold_id IS NULL THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: this license has no hold %', p_hold_id USING ERRCODE = 'OB404';
    END IF;
    RETURN v_hold;
END
$$;

--
-- Name: idempotency_keys; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.idempotency_keys (
    license_id uuid NOT NULL,
    scope text NOT NULL,
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    cause_id uuid NOT NULL,
    in_force boolean DEFAULT true NOT NULL,
    answer bytea,
    answer_expires_at timestamp with time zone,
    claimed_at timestamp with time zone NOT NULL,
    CONSTRAINT idempotency_keys_scope_check CHECK ((scope = ANY (ARRAY['license'::text, 'operator'::text])))
);

--
-- Name: TABLE idempotency_keys; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.idempotency_keys IS 'What a key names: the deduction, hold, grant or adjustment that it made. Freed (in_force = false) when its hold ended without a charge; the answer is ciphertext.';

--
-- Name: find_idempotency_key(uuid, text, text, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.find_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea) RETURNS obol.idempotency_keys
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_key obol.idempotency_keys;
BEGIN
    SELECT i.* INTO v_key FROM obol.idempotency_keys i
     WHERE i.license_id = p_license_id AND i.scope = p_scope
       AND i.idempotency_key = p_idempotency_key AND i.in_force;
    IF v_key.fingerprint <> p_fingerprint THEN
        RAISE EXCEPTION 'IDEMPOTENCY_KEY_REUSED: this idempotency key was used with another payload'
            USING ERRCODE = 'OB422', HINT = 'Use a new key for a new request.';
    END IF;
    RETURN v_key;
END
$$;

--
-- Name: find_imported_key(bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.find_imported_key(p_key_digest bytea) RETURNS TABLE(license_id uuid, are_any boolean)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY SELECT (SELECT i.license_id FROM obol.imported_keys i WHERE i.key_digest = p_key_digest),
                        EXISTS (SELECT FROM obol.imported_keys);
END
$$;

--
-- Name: find_license(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.find_license(p_license_id uuid, p_key_digest bytea) RETURNS TABLE(license_id uuid, name text, status text, expires_at timestamp with time zone, balance bigint, held bigint, available bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at,
                        l.balance, l.held, l.available
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

--
-- Name: find_stripe_intent(text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.find_stripe_intent(p_payment_intent text) RETURNS uuid
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN (SELECT i.license_id FROM obol.stripe_intents i WHERE i.payment_intent = p_payment_intent);
END
$$;

--
-- Name: free_idempotency_key(obol.holds); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.free_idempotency_key(p_hold obol.holds) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF p_hold.process_id IS NOT NULL AND p_hold.idempotency_key IS NOT NULL THEN
        UPDATE obol.idempotency_keys i
           SET in_force = false
         WHERE i.license_id = p_hold.license_id AND i.scope = 'license'
           AND i.idempotency_key = p_hold.idempotency_key AND i.cause_id = p_hold.hold_id;
    END IF;
END
$$;

--
-- Name: give_back(uuid, uuid, uuid, bigint, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.give_back(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reference text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_draw record;
    v_begin bigint;
    v_balance bigint;
    v_entry_no bigint;
    v_given_back bigint := 0;
BEGIN
    PERFORM obol.check_room(p_license_id, p_amount);
    -- How much of it has come back: as far as that the draws are done with.
    SELECT COALESCE(sum(r.amount), 0) INTO v_begin FROM obol.ledger_entries r
     WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id;
    UPDATE obol.licenses l
       SET balance = l.balance + p_amount, entry_count = l.entry_count + 1, allotted_entry_no = l.entry_count + 1
     WHERE l.license_id = p_license_id
    RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
    PERFORM obol.book_part(p_license_id, v_entry_no, 'refund', p_amount, v_balance, p_cause_id, p_refund_id, p_reference);

    FOR v_draw IN SELECT d.grant_id, LEAST(d.amount, v_begin + p_amount - d.before) - GREATEST(0, v_begin - d.before) AS amount
                    FROM obol.list_draws(p_license_id, p_cause_id) d
                   WHERE d.before < v_begin + p_amount AND d.before + d.amount > v_begin LOOP
        UPDATE obol.grants g
           SET credits_left = g.credits_left + v_draw.amount
         WHERE g.license_id = p_license_id AND g.grant_id = v_draw.grant_id;
        INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
        VALUES (p_license_id, v_draw.grant_id, v_entry_no, v_entry_no,
                v_balance - p_amount + v_given_back, v_balance - p_amount + v_given_back + v_draw.amount);
        v_given_back := v_given_back + v_draw.amount;
    END LOOP;
    IF v_given_back < p_amount THEN
        INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, has_started,
                                 reason, reference, created_at)
        VALUES (p_license_id, p_refund_id, p_amount - v_given_back, p_amount - v_given_back, 50, v_now, true,
                'refund', p_reference, v_now);
    END IF;
    -- A grant that it came back to may have ended.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    RETURN v_entry_no;
END
$$;

--
-- Name: give_for_payment(uuid, uuid, uuid, bigint, interval, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.give_for_payment(p_license_id uuid, p_payment_id uuid, p_grant_id uuid, p_amount bigint, p_lifetime interval, p_actor text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz;
BEGIN
    -- What was used so far is of the grants that there were.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    PERFORM obol.check_room(p_license_id, p_amount);
    INSERT INTO obol.grants (license_id, grant_id, amount, credits_left, priority, starts_at, expires_at, has_started,
                             reason, reference, created_at)
    VALUES (p_license_id, p_grant_id, p_amount, p_amount, 50, v_now, v_now + p_lifetime, false,
            'purchase', 'payment ' || p_payment_id, v_now);
    INSERT INTO obol.payment_grants (license_id, grant_id, payment_id) VALUES (p_license_id, p_grant_id, p_payment_id);
    PERFORM obol.bring_up_to_date(p_license_id, true);
    PERFORM obol.note_act(p_license_id, p_actor, 'grant_credits', p_grant_id::text,
                          jsonb_build_object('amount', p_amount, 'payment_id', p_payment_id), NULL);
    PERFORM obol.write_event(p_license_id, 'grant.created', p_grant_id, jsonb_build_object(
        'grant_id', p_grant_id, 'amount', p_amount, 'starts_at', obol.utc(v_now), 'expires_at', obol.utc(v_now + p_lifetime),
        'reason', 'purchase', 'reference', 'payment ' || p_payment_id,
        'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
END
$$;

--
-- Name: grant_credits(uuid, uuid, bigint, text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.grant_credits(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text) RETURNS TABLE(grant_id uuid, amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_grant_id uuid;
BEGIN
    SELECT g.grant_id INTO v_grant_id
      FROM obol.grant_credits_v2(p_license_id, p_grant_id, p_amount, 50, NULL, NULL, 'purchase', p_reference,
                                 p_idempotency_key, p_fingerprint, NULL, NULL) g;
    RETURN QUERY SELECT e.cause_id, e.amount, e.balance_after
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.kind = 'grant' AND e.cause_id = v_grant_id;
END
$$;

--
-- Name: grant_credits_v2(uuid, uuid, bigint, integer, timestamp with time zone, timestamp with time zone, text, text, text, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.grant_credits_v2(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_priority integer, p_starts_at timestamp with time zone, p_expires_at timestamp with time zone, p_reason text, p_reference text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint, starts_at timestamp with time zone, expires_at timestamp with time zone, state text, reason text, reference text, created_at timestamp with time zone, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
        PERFORM obol.write_event(p_license_id, 'grant.created', v_grant_id, jsonb_build_object(
            'grant_id', v_grant_id, 'amount', p_amount, 'starts_at', obol.utc(COALESCE(p_starts_at, v_now)),
            'expires_at', obol.utc(p_expires_at), 'reason', p_reason, 'reference', p_reference,
            'balance', (SELECT l.balance FROM obol.licenses l WHERE l.license_id = p_license_id)));
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

--
-- Name: heartbeat(uuid, double precision); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.heartbeat(p_process_id uuid, p_lease_s double precision) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.processes AS p (process_id, lease_expires_at, started_at)
    VALUES (p_process_id, v_now + make_interval(secs => p_lease_s), v_now)
    ON CONFLICT (process_id) DO UPDATE SET lease_expires_at = excluded.lease_expires_at;
    RETURN v_now;
END
$$;

--
-- Name: hmac_sha256(bytea, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.hmac_sha256(p_key bytea, p_message bytea) RETURNS bytea
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_key bytea := CASE WHEN length(p_key) > 64 THEN sha256(p_key) ELSE p_key END;
    v_inner bytea := decode(repeat('36', 64), 'hex');
    v_outer bytea := decode(repeat('5c', 64), 'hex');
BEGIN
    FOR i IN 0 .. length(v_key) - 1 LOOP
        v_inner := set_byte(v_inner, i, get_byte(v_key, i) # 54);
        v_outer := set_byte(v_outer, i, get_byte(v_key, i) # 92);
    END LOOP;
    RETURN sha256(v_outer || sha256(v_inner || p_message));
END
$$;

--
-- Name: import_license(uuid, bytea, bigint, text, timestamp with time zone, text, text, boolean, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.import_license(p_license_id uuid, p_key_digest bytea, p_credits bigint, p_status text, p_expires_at timestamp with time zone, p_external_id text, p_name text, p_dry_run boolean, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, result text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_values jsonb := jsonb_build_object(
        'credits', p_credits, 'status', p_status, 'expires_at', p_expires_at AT TIME ZONE 'UTC',
        'external_id', p_external_id, 'name', p_name);
    v_now timestamptz := clock_timestamp();
    v_taken text;
    v_key obol.imported_keys;
    v_others text[];
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    ELSIF p_credits > 0 THEN
        PERFORM obol.check_token(p_token_digest, 'grant');
    END IF;

    -- This is looked at before the imported keys: of another import of the same, that commits in between, the key is
    -- seen with all the rest.
    v_taken := CASE WHEN EXISTS (SELECT FROM obol.license_keys k WHERE k.key_digest = p_key_digest) THEN 'key'
                    WHEN EXISTS (SELECT FROM obol.external_ids x WHERE x.external_id = p_external_id) THEN 'external_id'
               END;
    SELECT i.* INTO v_key FROM obol.imported_keys i WHERE i.key_digest = p_key_digest;
    IF FOUND THEN
        SELECT array_agg(n.name ORDER BY n.place) INTO v_others
          FROM unnest(ARRAY['credits', 'status', 'expires_at', 'external_id', 'name']) WITH ORDINALITY AS n (name, place)
         WHERE v_key.imported -> n.name IS DISTINCT FROM v_values -> n.name;
        IF v_others IS NOT NULL THEN
            RAISE EXCEPTION 'ALREADY_EXISTS: the key was imported before, as license %, with another %',
                            v_key.license_id, array_to_string(v_others, ' and another ')
                USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', v_others[1]),
                      HINT = 'Change that license itself, or import what was imported.';
        END IF;
        -- A call whose answer was lost is asked again with its id.
        RETURN QUERY SELECT v_key.license_id, CASE WHEN v_key.license_id = p_license_id THEN 'imported' ELSE 'unchanged' END;
        RETURN;
    END IF;
    IF v_taken = 'key' THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: a license has this key'
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'key'), HINT = 'It need not be imported.';
    ELSIF v_taken = 'external_id' THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: another license has the external id %', p_external_id
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'external_id'),
                  HINT = 'Look that license up by it, or use another one.';
    END IF;
    IF p_dry_run THEN
        RETURN QUERY SELECT NULL::uuid, 'imported';
        RETURN;
    END IF;

    -- Another import that came between is found by the next try.
    INSERT INTO obol.imported_keys (key_digest, license_id, imported, imported_at)
    VALUES (p_key_digest, p_license_id, v_values, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the key was imported');
    END IF;
    INSERT INTO obol.licenses (license_id, name, status, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_status, p_expires_at, sha256(convert_to(v_values::text, 'UTF8')), v_now);
    INSERT INTO obol.license_keys (license_id, key_digest, created_at, name)
    VALUES (p_license_id, p_key_digest, v_now, 'imported');
    IF p_external_id IS NOT NULL THEN
        INSERT INTO obol.external_ids (external_id, license_id)
        VALUES (p_external_id, p_license_id)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the external id was taken');
        END IF;
    END IF;
    IF p_credits > 0 THEN
        PERFORM obol.grant_credits_v2(p_license_id, p_license_id, p_credits, 50, NULL, NULL, 'import', 'opening grant',
                                      NULL, NULL, p_token_digest, p_request_id);
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'import_license', NULL, v_values, p_request_id);
    RETURN QUERY SELECT p_license_id, 'imported';
END
$$;

--
-- Name: is_signed_by_stripe(bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.is_signed_by_stripe(p_payload bytea, p_signature text) RETURNS boolean
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    c_tolerance_s constant bigint := 300;
    v_now timestamptz := clock_timestamp();
    v_signed_at text := substring(p_signature FROM '(?:^|,)t=([0-9]{1,12})(?:,|$)');
    v_secret bytea;
    v_expected bytea;
BEGIN
    IF p_payload IS NULL OR v_signed_at IS NULL
       OR abs(extract(epoch FROM v_now) - v_signed_at::bigint) > c_tolerance_s THEN
        RETURN false;
    END IF;
    FOR v_secret IN SELECT s.signing_secret FROM obol.stripe_secrets s
                     WHERE s.expires_at IS NULL OR s.expires_at > v_now LOOP
        v_expected := obol.hmac_sha256(v_secret, convert_to(v_signed_at || '.', 'UTF8') || p_payload);
        -- Digests of both are compared, so that the time it takes tells nothing of how much was right.
        PERFORM FROM regexp_matches(p_signature, '(?:^|,)v1=([0-9a-f]{64})(?=,|$)', 'g') AS m (said)
          WHERE sha256(decode(m.said[1], 'hex')) = sha256(v_expected);
        IF FOUND THEN
            RETURN true;
        END IF;
    END LOOP;
    RETURN false;
END
$_$;

--
-- Name: keep_sums(uuid, bigint, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.keep_sums(p_license_id uuid, p_first bigint, p_last bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO obol.archived_usage AS k
           (license_id, day, model, key_id, calls, credits, input_tokens, output_tokens, cache_write_5m_tokens,
            cache_write_1h_tokens, cache_read_tokens, refunded)
    SELECT p_license_id, u.day, u.model, u.key_id, sum(u.calls), sum(u.credits), sum(u.input_tokens), sum(u.output_tokens),
           sum(u.cache_write_5m_tokens), sum(u.cache_write_1h_tokens), sum(u.cache_read_tokens), sum(u.refunded)
      FROM obol.entry_usage u
     WHERE u.license_id = p_license_id AND u.entry_no BETWEEN p_first AND p_last
     GROUP BY u.day, u.model, u.key_id
    ON CONFLICT (license_id, day, model, key_id) DO UPDATE
       SET calls = k.calls + excluded.calls,
           credits = k.credits + excluded.credits,
           input_tokens = k.input_tokens + excluded.input_tokens,
           output_tokens = k.output_tokens + excluded.output_tokens,
           cache_write_5m_tokens = k.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
           cache_write_1h_tokens = k.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
           cache_read_tokens = k.cache_read_tokens + excluded.cache_read_tokens,
           refunded = k.refunded + excluded.refunded;
    INSERT INTO obol.archived_days AS k
           (license_id, day, total, granted, charged, refunded, expired, voided, adjusted, shortfall)
    SELECT p_license_id, (e.created_at AT TIME ZONE 'UTC')::date, sum(e.amount),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'grant'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind IN ('charge', 'deduction')), 0),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'refund'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind = 'expiry'), 0),
           COALESCE(-sum(e.amount) FILTER (WHERE e.kind = 'void'), 0),
           COALESCE(sum(e.amount) FILTER (WHERE e.kind = 'adjustment'), 0),
           sum(e.shortfall)
      FROM obol.ledger_entries e
     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
     GROUP BY 2
    ON CONFLICT (license_id, day) DO UPDATE
       SET total = k.total + excluded.total,
           granted = k.granted + excluded.granted,
           charged = k.charged + excluded.charged,
           refunded = k.refunded + excluded.refunded,
           expired = k.expired + excluded.expired,
           voided = k.voided + excluded.voided,
           adjusted = k.adjusted + excluded.adjusted,
           shortfall = k.shortfall + excluded.shortfall;
    UPDATE obol.grants g
       SET archived_starts = g.archived_starts + s.starts,
           archived_lapsed = g.archived_lapsed + s.lapsed,
           archived_drawn = g.archived_drawn + s.drawn
      FROM (SELECT c.grant_id, sum(c.starts)::bigint AS starts, sum(c.lapsed)::bigint AS lapsed, sum(c.drawn)::bigint AS drawn
              FROM (SELECT CASE e.kind WHEN 'refund' THEN e.part_id ELSE e.cause_id END AS grant_id,
                           (e.kind NOT IN ('expiry', 'void'))::integer AS starts,
                           CASE WHEN e.kind IN ('expiry', 'void') THEN -e.amount ELSE 0 END AS lapsed, 0 AS drawn
                      FROM obol.ledger_entries e
                     WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
                       AND (e.kind IN ('grant', 'refund', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0))
                    UNION ALL
                    SELECT a.grant_id, 0, 0, a.balance_from - a.balance_to
                      FROM obol.allotments a
                     WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last) c
             GROUP BY c.grant_id) s
     WHERE g.license_id = p_license_id AND g.grant_id = s.grant_id;
    UPDATE obol.payment_grants o
       SET archived_voided = o.archived_voided + s.voided,
           archived_taken = o.archived_taken + s.taken
      FROM (SELECT p.grant_id, -sum(e.amount)::bigint AS voided,
                   -COALESCE(sum(e.amount) FILTER (WHERE e.reference = 'payment ' || p.payment_id), 0)::bigint AS taken
              FROM obol.ledger_entries e
              JOIN obol.payment_grants p ON p.license_id = p_license_id AND p.grant_id = e.cause_id
             WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'void'
             GROUP BY p.grant_id) s
     WHERE o.license_id = p_license_id AND o.grant_id = s.grant_id;
END
$$;

--
-- Name: list_acts(bigint, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_acts(p_before bigint, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(act_no bigint, acted_at timestamp with time zone, actor text, act text, license_id uuid, target text, detail jsonb, request_id text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT a.act_no, a.acted_at, a.actor, a.act, a.license_id, a.target, a.detail, a.request_id
                   FROM obol.admin_acts a
                  WHERE p_before IS NULL OR a.act_no < p_before
                  ORDER BY a.act_no DESC
                  LIMIT p_limit;
END
$$;

--
-- Name: list_all_payments(boolean, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_all_payments(p_only_owed boolean, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint, state text, refunded bigint, disputed bigint, owed bigint, disagreement text, checkout_url text, created_at timestamp with time zone, paid_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT p.license_id, p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.lifetime_days,
               -- Stripe's word for it may come later, or never.
               CASE WHEN p.state = 'pending' AND p.expires_at <= v_now THEN 'expired' ELSE p.state END,
               p.refunded, s.disputed, s.owed, p.disagreement,
               CASE WHEN p.state = 'pending' AND p.expires_at > v_now THEN p.checkout_url END, p.created_at, p.paid_at
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
         WHERE (NOT p_only_owed OR ((p.refunded > 0 OR p.disputes <> '{}') AND s.owed > 0))
           AND (p_before_at IS NULL OR (p.created_at, p.payment_id) < (p_before_at, p_before_id))
         ORDER BY p.created_at DESC, p.payment_id DESC
         LIMIT p_limit;
END
$$;

--
-- Name: list_archive_files(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_archive_files(p_license_id uuid) RETURNS TABLE(first_entry_no bigint, last_entry_no bigint, file_digest bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT f.first_entry_no, f.last_entry_no, f.file_digest
          FROM obol.archived_files f
         WHERE f.license_id = p_license_id
         ORDER BY f.last_entry_no;
END
$$;

--
-- Name: list_archived(uuid, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_archived(p_after uuid, p_limit integer) RETURNS TABLE(license_id uuid, last_entry_no bigint, balance bigint, digest bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT a.license_id, a.last_entry_no, a.balance, a.digest
          FROM obol.archived a
         WHERE p_after IS NULL OR a.license_id > p_after
         ORDER BY a.license_id
         LIMIT p_limit;
END
$$;

--
-- Name: list_draws(uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_draws(p_license_id uuid, p_cause_id uuid) RETURNS TABLE(grant_id uuid, amount bigint, before bigint)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    c_last constant bigint := 9223372036854775807;
    v_allotted bigint;
    v_left bigint;
BEGIN
    SELECT l.allotted_entry_no INTO v_allotted FROM obol.licenses l WHERE l.license_id = p_license_id;
    -- Where the balance was at the last change of the set: so far down it is all of an open grant.
    SELECT sum(g.credits_left) INTO v_left FROM obol.grants g
     WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0;
    RETURN QUERY
        SELECT d.grant_id, d.amount, (sum(d.amount) OVER (ORDER BY d.balance_to))::bigint - d.amount
          FROM (SELECT a.grant_id, a.balance_to,
                       LEAST(a.balance_from, e.balance_after - e.amount) - GREATEST(a.balance_to, e.balance_after) AS amount
                  FROM obol.ledger_entries e
                  JOIN (SELECT a.grant_id, a.first_entry_no, a.last_entry_no, a.balance_from, a.balance_to
                          FROM obol.allotments a WHERE a.license_id = p_license_id
                        UNION ALL
                        SELECT o.grant_id, v_allotted + 1, c_last, v_left - o.before, v_left - o.before - o.credits_left
                          FROM obol.list_open_grants(p_license_id) o) a
                    ON a.last_entry_no >= e.entry_no AND a.first_entry_no <= e.entry_no
                 WHERE e.license_id = p_license_id AND e.cause_id = p_cause_id
                   AND e.kind IN ('charge', 'deduction', 'adjustment') AND e.amount < 0
                   AND a.first_entry_no > 0 AND a.balance_from > a.balance_to
                   AND a.balance_from > e.balance_after AND a.balance_to < e.balance_after - e.amount) d
         ORDER BY d.balance_to;
END
$$;

--
-- Name: list_entries(uuid, bytea, bigint, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_entries(p_license_id uuid, p_key_digest bytea, p_before bigint, p_limit integer) RETURNS TABLE(entry_no bigint, kind text, amount bigint, balance_after bigint, cause_id uuid, reference text, model text, usage jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id,
                        e.reference, e.model, e.usage, e.created_at
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id
                    AND (p_before IS NULL OR e.entry_no < p_before)
                  ORDER BY e.entry_no DESC
                  LIMIT p_limit;
END
$$;

--
-- Name: list_entries_v2(uuid, text, text, uuid, timestamp with time zone, timestamp with time zone, bigint, bigint, integer, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_entries_v2(p_license_id uuid, p_kind text, p_model text, p_key_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_after bigint, p_before bigint, p_limit integer, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(entry_no bigint, kind text, amount bigint, balance_after bigint, cause_id uuid, reference text, model text, key_id uuid, usage jsonb, created_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    c_beyond constant bigint := 9223372036854775807;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY SELECT e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id,
                        e.reference, e.model, e.key_id, e.usage, e.created_at
                   FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id
                    -- Both are bounds of the index, whatever plan is kept: an OR would read from the newest entry on.
                    AND e.entry_no > p_after AND e.entry_no < COALESCE(p_before, c_beyond)
                    AND (p_kind IS NULL OR e.kind = p_kind)
                    AND (p_model IS NULL OR e.model = p_model)
                    AND (p_key_id IS NULL OR e.key_id = p_key_id)
                    AND (p_from IS NULL OR e.created_at >= p_from)
                    AND (p_to IS NULL OR e.created_at < p_to)
                  ORDER BY e.entry_no DESC
                  LIMIT p_limit;
END
$$;

--
-- Name: list_events(uuid, text, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_events(p_only uuid, p_type text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(event_id uuid, license_id uuid, type text, created_at timestamp with time zone, data jsonb, deliveries jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT e.event_id, NULLIF(e.license_id, c_nobody), e.type, e.created_at, e.data,
               COALESCE((SELECT jsonb_agg(jsonb_build_object(
                                    'webhook_id', NULLIF(d.webhook_id, c_nobody), 'state', d.state,
                                    'attempts', d.attempts, 'last_attempt_at', obol.utc(d.last_attempt_at),
                                    'last_status', d.last_status, 'last_error', d.last_error) ORDER BY d.webhook_id)
                           FROM obol.deliveries d
                          WHERE d.license_id = e.license_id AND d.event_no = e.event_no), '[]')
          FROM obol.events e
         WHERE (p_only IS NULL OR e.license_id = p_only)
           AND (p_type IS NULL OR e.type = p_type)
           AND (p_before_at IS NULL OR (e.created_at, e.event_id) < (p_before_at, p_before_id))
         ORDER BY e.created_at DESC, e.event_id DESC
         LIMIT p_limit;
END
$$;

--
-- Name: list_grants(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_grants(p_license_id uuid, p_key_digest bytea) RETURNS TABLE(grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint, starts_at timestamp with time zone, expires_at timestamp with time zone, state text, reason text, reference text, created_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT d.* FROM obol.describe_grants(p_license_id) d
                  WHERE d.state IN ('active', 'scheduled')
                  ORDER BY d.priority, COALESCE(d.expires_at, 'infinity'), d.created_at, d.grant_id;
END
$$;

--
-- Name: list_grants_of(uuid, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_grants_of(p_license_id uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint, starts_at timestamp with time zone, expires_at timestamp with time zone, state text, reason text, reference text, created_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    IF NOT obol.bring_up_to_date(p_license_id) THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
    END IF;
    RETURN QUERY SELECT d.* FROM obol.describe_grants(p_license_id) d
                  WHERE p_before_at IS NULL OR (d.created_at, d.grant_id) < (p_before_at, p_before_id)
                  ORDER BY d.created_at DESC, d.grant_id DESC
                  LIMIT p_limit;
END
$$;

--
-- Name: list_heads(uuid, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_heads(p_after uuid, p_limit integer) RETURNS TABLE(license_id uuid, entries bigint, unaudited bigint, archived bigint, archived_digest bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id, l.entry_count, COALESCE(s.entry_no, 0), COALESCE(a.last_entry_no, 0), a.digest
          FROM obol.licenses l
          LEFT JOIN obol.audit_starts s ON s.license_id = l.license_id
          LEFT JOIN obol.archived a ON a.license_id = l.license_id
         WHERE p_after IS NULL OR l.license_id > p_after
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

--
-- Name: list_holds(text, uuid, bytea[], timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_holds(p_state text, p_only uuid, p_key_ids bytea[], p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, hold_id uuid, amount bigint, model text, at timestamp with time zone, expires_at timestamp with time zone, is_stored boolean, unpaid jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
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

--
-- Name: list_keys(uuid, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_keys(p_license_id uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id
                    AND (p_after_at IS NULL OR (k.created_at, k.key_id) > (p_after_at, p_after_id))
                  ORDER BY k.created_at, k.key_id
                  LIMIT p_limit;
END
$$;

--
-- Name: list_licenses(text, text, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_licenses(p_query text, p_status text, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, name text, status text, expires_at timestamp with time zone, balance bigint, held bigint, available bigint, external_id text, created_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
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

--
-- Name: list_limits(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_limits(p_license_id uuid, p_key_digest bytea) RETURNS TABLE(subject_id uuid, limit_of text, limits jsonb, is_counted boolean)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT k.key_id, 'key', k.limits, k.limits - 'models' <> '{}'
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.limits IS NOT NULL;
    RETURN QUERY
        SELECT l.license_id, 'license', l.limits, l.limits - 'models' <> '{}'
          FROM obol.licenses l
         WHERE l.license_id = p_license_id AND l.limits IS NOT NULL;
END
$$;

--
-- Name: list_newest_licenses(text, text, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_newest_licenses(p_query text, p_status text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, name text, status text, expires_at timestamp with time zone, balance bigint, held bigint, available bigint, external_id text, created_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l
                  WHERE (p_before_at IS NULL OR (l.created_at, l.license_id) < (p_before_at, p_before_id))
                    AND (p_status IS NULL OR l.status = p_status)
                    AND (p_query IS NULL
                         OR strpos(lower(l.name), lower(p_query)) > 0
                         OR starts_with(l.license_id::text, lower(p_query))
                         OR starts_with(lower(l.external_id), lower(p_query)))
                  ORDER BY l.created_at DESC, l.license_id DESC
                  LIMIT p_limit;
END
$$;

--
-- Name: list_open_grants(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_open_grants(p_license_id uuid) RETURNS TABLE(grant_id uuid, credits_left bigint, before bigint, used bigint, ends_at timestamp with time zone, kind text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_used bigint;
BEGIN
    -- The credits are alike, so to share out the sum is the same as to share out each use.
    SELECT sum(g.credits_left) - max(l.balance) INTO v_used
      FROM obol.grants g
      JOIN obol.licenses l ON l.license_id = g.license_id
     WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0;
    RETURN QUERY
        SELECT o.grant_id, o.credits_left, o.before, LEAST(o.credits_left, GREATEST(0, v_used - o.before)),
               LEAST(o.voided_at, o.expires_at),
               CASE WHEN o.voided_at IS NULL OR o.voided_at >= o.expires_at THEN 'expiry' ELSE 'void' END
          FROM (SELECT g.*, (sum(g.credits_left) OVER burn)::bigint - g.credits_left AS before,
                       row_number() OVER burn AS place
                  FROM obol.grants g
                 WHERE g.license_id = p_license_id AND g.has_started AND g.credits_left > 0
                WINDOW burn AS (ORDER BY g.priority, COALESCE(g.expires_at, 'infinity'), g.created_at, g.grant_id)) o
         ORDER BY o.place;
END
$$;

--
-- Name: list_own_keys(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_own_keys(p_license_id uuid, p_key_digest bytea) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, false);
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.made_by IS NOT NULL
                  ORDER BY k.created_at, k.key_id
                  LIMIT 1000;
END
$$;

--
-- Name: list_packages(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_packages() RETURNS TABLE(package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint, is_active boolean)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
      FROM obol.packages k
     ORDER BY k.currency, k.price, k.package_id
$$;

--
-- Name: list_payments(uuid, bytea, uuid, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_payments(p_license_id uuid, p_digest bytea, p_only uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint, state text, refunded bigint, disputed bigint, owed bigint, disagreement text, checkout_url text, created_at timestamp with time zone, paid_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY
        SELECT p.license_id, p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.lifetime_days,
               -- Stripe's word for it may come later, or never.
               CASE WHEN p.state = 'pending' AND p.expires_at <= v_now THEN 'expired' ELSE p.state END,
               p.refunded, s.disputed, s.owed, p.disagreement,
               CASE WHEN p.state = 'pending' AND p.expires_at > v_now THEN p.checkout_url END, p.created_at, p.paid_at
          FROM obol.payments p
          JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
         WHERE p.license_id = p_license_id AND (p_only IS NULL OR p.payment_id = p_only)
           AND (p_before_at IS NULL OR (p.created_at, p.payment_id) < (p_before_at, p_before_id))
         ORDER BY p.created_at DESC, p.payment_id DESC
         LIMIT p_limit;
END
$$;

--
-- Name: list_prices(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_prices() RETURNS TABLE(model_pattern text, effective_from timestamp with time zone, price jsonb, read_at timestamp with time zone)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT b.model_pattern, b.effective_from, b.price, now() FROM obol.price_book b
$$;

--
-- Name: list_processes(bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_processes(p_token_digest bytea, p_request_id text) RETURNS TABLE(process_id uuid, started_at timestamp with time zone, lease_expires_at timestamp with time zone, lease_left_s double precision, open_holds bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT p.process_id, p.started_at, p.lease_expires_at,
               extract(epoch FROM p.lease_expires_at - v_now)::double precision,
               COALESCE(o.holds, 0)
          FROM obol.processes p
          LEFT JOIN (SELECT h.process_id, count(*) AS holds
                       FROM obol.holds h WHERE h.state = 'held' GROUP BY h.process_id) o
            ON o.process_id = p.process_id
         WHERE p.lease_expires_at > v_now - interval '1 day'
         ORDER BY p.started_at DESC, p.process_id
         LIMIT 200;
END
$$;

--
-- Name: list_thresholds(jsonb, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_thresholds(p_alerts jsonb, p_base bigint) RETURNS TABLE(threshold bigint, percent bigint)
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT c.value::bigint, NULL::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'credits', '[]')) c
        UNION
        SELECT (p_base::numeric * c.value::bigint / 100)::bigint, c.value::bigint
          FROM jsonb_array_elements_text(COALESCE(p_alerts -> 'percent', '[]')) c;
END
$$;

--
-- Name: list_tokens(timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_tokens(p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(token_id uuid, name text, scopes text[], created_at timestamp with time zone, expires_at timestamp with time zone, revoked_at timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'tokens');
    RETURN QUERY SELECT t.token_id, t.name, t.scopes, t.created_at, t.expires_at, t.revoked_at
                   FROM obol.admin_tokens t
                  WHERE p_after_at IS NULL OR (t.created_at, t.token_id) > (p_after_at, p_after_id)
                  ORDER BY t.created_at, t.token_id
                  LIMIT p_limit;
END
$$;

--
-- Name: list_verifications(bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_verifications(p_token_digest bytea, p_request_id text) RETURNS TABLE(is_whole boolean, began_at timestamp with time zone, ended_at timestamp with time zone, actor text, finding_count bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT v.is_whole, v.began_at, v.ended_at, v.actor, v.finding_count
                   FROM obol.verifications v ORDER BY v.is_whole DESC;
END
$$;

--
-- Name: list_webhooks(uuid, timestamp with time zone, uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.list_webhooks(p_only uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(webhook_id uuid, name text, url text, types text[], status text, created_at timestamp with time zone, paused_at timestamp with time zone, paused_because text, failing_since timestamp with time zone, last_error text, old_secret_until timestamp with time zone, waiting bigint, failed bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT w.webhook_id, w.name, w.url, w.types,
               CASE WHEN w.paused_at IS NOT NULL THEN 'paused' WHEN w.failing_since IS NOT NULL THEN 'failing'
                    ELSE 'active' END,
               w.created_at, w.paused_at, w.paused_because, w.failing_since, w.last_error,
               CASE WHEN w.old_secret_until > v_now THEN w.old_secret_until END,
               (SELECT count(*) FROM obol.deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'waiting'),
               (SELECT count(*) FROM obol.deliveries d WHERE d.webhook_id = w.webhook_id AND d.state = 'failed')
          FROM obol.webhooks w
         WHERE w.deleted_at IS NULL AND w.kind = 'http'
           AND (p_only IS NULL OR w.webhook_id = p_only)
           AND (p_after_at IS NULL OR (w.created_at, w.webhook_id) > (p_after_at, p_after_id))
         ORDER BY w.created_at, w.webhook_id
         LIMIT p_limit;
END
$$;

--
-- Name: lock_license(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.lock_license(p_license_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    UPDATE obol.licenses l SET entry_count = l.entry_count WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

--
-- Name: merge_limits(uuid, jsonb, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.merge_limits(p_license_id uuid, p_limits jsonb, p_change jsonb) RETURNS jsonb
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
DECLARE
    v_name text;
    v_value jsonb;
    v_most numeric;
    v_is_good boolean;
BEGIN
    FOR v_name, v_value IN SELECT c.key, c.value FROM jsonb_each(COALESCE(p_change, '{}')) c LOOP
        v_most := CASE v_name WHEN 'requests_per_minute' THEN 1000000
                              WHEN 'concurrent_holds' THEN 1000000
                              WHEN 'credits_per_day' THEN 9223372036854775807
                              WHEN 'credits_per_month' THEN 9223372036854775807 END;
        v_is_good := CASE
            WHEN jsonb_typeof(v_value) = 'null' THEN v_most IS NOT NULL OR v_name = 'models'
            WHEN v_name = 'models' THEN
                jsonb_typeof(v_value) = 'array' AND jsonb_array_length(v_value) BETWEEN 1 AND 100
                AND NOT jsonb_path_exists(v_value, '$[*] ? (@.type() <> "string" || @ == "" || @ like_regex "[*].")')
            WHEN jsonb_typeof(v_value) = 'number' THEN
                (v_value #>> '{}')::numeric BETWEEN 1 AND v_most AND (v_value #>> '{}') ~ '^[0-9]+$'
            END;
        IF v_is_good IS NOT TRUE THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the limit % cannot be %', v_name, v_value
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'limits.' || v_name),
                      HINT = 'Limits are whole numbers from 1 on, and models a list of names, or beginnings that end with a *.';
        END IF;
    END LOOP;
    RETURN NULLIF(jsonb_strip_nulls(COALESCE(p_limits, '{}') || COALESCE(p_change, '{}')), '{}');
END
$_$;

--
-- Name: next_threshold(jsonb, bigint, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.next_threshold(p_alerts jsonb, p_base bigint, p_balance bigint) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF p_balance = 0 THEN
        RETURN -1;
    END IF;
    RETURN COALESCE((SELECT max(t.threshold) FROM obol.list_thresholds(p_alerts, p_base) t
                      WHERE t.threshold < p_balance), 0);
END
$$;

--
-- Name: note_act(uuid, text, text, text, jsonb, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_act(p_license_id uuid, p_actor text, p_act text, p_target text, p_detail jsonb, p_request_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    INSERT INTO obol.admin_acts (acted_at, actor, act, license_id, target, detail, request_id)
    VALUES (clock_timestamp(), p_actor, p_act, p_license_id, p_target, p_detail, p_request_id);
END
$$;

--
-- Name: note_balance(uuid, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_balance(p_license_id uuid, p_balance bigint) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_license record;
    v_crossed record;
    v_next bigint;
BEGIN
    SELECT l.alerts, l.alert_base, l.notify_below INTO v_license
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    FOR v_crossed IN
        SELECT t.threshold, t.percent FROM obol.list_thresholds(v_license.alerts, v_license.alert_base) t
         WHERE t.threshold BETWEEN GREATEST(p_balance, 1) AND v_license.notify_below
         ORDER BY t.threshold DESC, t.percent
    LOOP
        PERFORM obol.write_event(p_license_id, 'license.low_balance', NULL, jsonb_build_object(
            'balance', p_balance, 'threshold', v_crossed.threshold, 'percent', v_crossed.percent));
    END LOOP;
    IF p_balance = 0 THEN
        PERFORM obol.write_event(p_license_id, 'license.exhausted', NULL, jsonb_build_object('balance', 0));
    END IF;
    v_next := obol.next_threshold(v_license.alerts, v_license.alert_base, p_balance);
    UPDATE obol.licenses l SET notify_below = v_next WHERE l.license_id = p_license_id;
END
$$;

--
-- Name: note_checkout(uuid, bytea, uuid, text, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_checkout(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_session_id text, p_checkout_url text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_digest);
    -- An event may have come before and have said the session.
    UPDATE obol.payments p
       SET session_id = COALESCE(p.session_id, p_session_id), checkout_url = p_checkout_url
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id AND p.checkout_url IS NULL;
END
$$;

--
-- Name: note_deliveries(uuid, uuid[], uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_deliveries(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.holds h
       SET delivered_at = v_now
     WHERE h.license_id = p_license_id AND h.hold_id = ANY (p_hold_ids) AND h.process_id = p_process_id
       AND h.delivered_at IS NULL AND h.state = 'settled';
END
$$;

--
-- Name: note_refund(uuid, uuid, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_refund(p_license_id uuid, p_payment_id uuid, p_event jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_object jsonb := p_event #> '{data,object}';
    v_told jsonb;
    v_failed jsonb;
    v_refunded bigint;
BEGIN
    SELECT p.refunds_told, p.refunds_failed INTO v_told, v_failed
      FROM obol.payments p WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    IF v_object ->> 'object' = 'refund' THEN
        v_failed := v_failed || jsonb_build_object(v_object ->> 'id', jsonb_build_object(
            'amount', (v_object ->> 'amount')::bigint,
            'begun_at', (v_object ->> 'created')::bigint,
            -- The first that says so is the nearest to when it was.
            'failed_at', LEAST((p_event ->> 'created')::bigint,
                               (v_failed #>> ARRAY[v_object ->> 'id', 'failed_at'])::bigint)));
    ELSE
        v_told := v_told || jsonb_build_object(p_event ->> 'id', jsonb_build_object(
            'amount', (v_object ->> 'amount_refunded')::bigint, 'at', (p_event ->> 'created')::bigint));
    END IF;
    v_refunded := obol.sum_refunds(v_told, v_failed);
    UPDATE obol.payments p
       SET refunds_told = v_told, refunds_failed = v_failed, refunded = v_refunded
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

--
-- Name: note_stripe_state(uuid, uuid, text, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_stripe_state(p_license_id uuid, p_payment_id uuid, p_type text, p_object jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_dispute jsonb := jsonb_build_object(
        p_object ->> 'id',
        jsonb_build_object('amount', (p_object ->> 'amount')::bigint, 'state', obol.dispute_state(p_type, p_object)));
BEGIN
    IF p_object ->> 'payment_intent' IS NOT NULL THEN
        INSERT INTO obol.stripe_intents (payment_intent, license_id, payment_id)
        VALUES (p_object ->> 'payment_intent', p_license_id, p_payment_id)
        ON CONFLICT DO NOTHING;
    END IF;
    UPDATE obol.payments p
       SET session_id = CASE WHEN p_type LIKE 'checkout.session.%' THEN p_object ->> 'id' ELSE p.session_id END,
           payment_intent = COALESCE(p.payment_intent, p_object ->> 'payment_intent'),
           state = CASE WHEN p_type = 'checkout.session.expired' AND p.state = 'pending' THEN 'expired' ELSE p.state END,
           disputes = CASE WHEN p_type = 'charge.dispute.closed'
                             OR (p_type LIKE 'charge.dispute.%'
                                 AND COALESCE(p.disputes #>> ARRAY[p_object ->> 'id', 'state'], 'inquiry') = 'inquiry')
                           THEN p.disputes || v_dispute
                           ELSE p.disputes END
     WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
END
$$;

--
-- Name: note_verification(boolean, timestamp with time zone, bigint, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_verification(p_is_whole boolean, p_began_at timestamp with time zone, p_finding_count bigint, p_token_digest bytea, p_request_id text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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

--
-- Name: note_webhook(uuid, text, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_error text := left(p_error, 300);
BEGIN
    IF p_error IS NULL THEN
        UPDATE obol.webhooks w SET failing_since = NULL, last_error = NULL
         WHERE w.webhook_id = p_webhook_id AND w.failing_since IS NOT NULL;
        IF FOUND THEN
            UPDATE obol.delivery_queues q SET next_attempt_at = v_now
             WHERE q.webhook_id = p_webhook_id AND q.next_attempt_at > v_now AND q.claim_id IS NULL;
        END IF;
        RETURN false;
    END IF;
    UPDATE obol.webhooks w
       SET failing_since = COALESCE(w.failing_since, v_now), last_error = v_error
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http';
    UPDATE obol.webhooks w
       SET paused_at = v_now, paused_because = CASE WHEN p_is_gone THEN 'gone' ELSE 'failing' END
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.paused_at IS NULL
       AND (p_is_gone OR w.failing_since <= v_now - interval '3 days');
    RETURN FOUND;
END
$$;

--
-- Name: open_hold(uuid, bytea, uuid, uuid, bigint, bigint, integer, text, jsonb, text, bytea, text, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.open_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_min_amount bigint, p_expires_in_s integer, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_max_unpaid_tokens bigint) RETURNS TABLE(outcome text, hold_id uuid, amount bigint, state text, expires_at timestamp with time zone, available bigint, charge bigint, balance bigint, answer bytea)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
    v_limits jsonb;
    v_key_id uuid;
    v_limited_by uuid[];
    v_limited_amount bigint;
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
        RETURNING l.balance - l.held, l.expires_at, l.next_change_at, l.limits
          INTO v_available, v_license_expires_at, v_next_change_at, v_limits;
        IF FOUND THEN
            EXIT WHEN v_is_current OR v_next_change_at > clock_timestamp();
            -- A grant started or ended while this waited for the lock, which it has now: once more.
            UPDATE obol.licenses l SET held = l.held - v_amount WHERE l.license_id = p_license_id;
        END IF;

        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        RETURN QUERY SELECT r.* FROM obol.replay_hold(p_license_id, p_hold_id,
                                                      p_idempotency_key, p_fingerprint) r;
        IF FOUND THEN
            RETURN;
        END IF;
        IF v_is_current OR NOT obol.bring_up_to_date(p_license_id) THEN
            v_limited_amount := obol.check_limits(p_license_id, p_key_digest, p_model, v_amount, p_min_amount, 1, clock_timestamp());
            -- What the limits have lowered may be there: that is tried before it is looked for what else is wrong.
            v_amount := CASE WHEN v_limited_amount < v_amount THEN v_limited_amount
                             ELSE obol.admissible_amount(p_license_id, p_min_amount, v_amount, p_model, v_is_priced,
                                                         p_max_unpaid_tokens) END;
        ELSE
            v_is_current := true;
        END IF;
    END LOOP;

    -- The lock is ours, and v_now may be from before a wait for it: key or license may have ended.
    SELECT u.key_id, u.amount, u.limited_by, u.used_at INTO v_key_id, v_limited_amount, v_limited_by, v_now
      FROM obol.use_key(p_license_id, p_key_digest, true, v_limits, p_model, v_amount, p_min_amount, 1) u;
    IF v_license_expires_at <= v_now THEN
        PERFORM obol.check_active(p_license_id);
    END IF;
    IF v_limited_amount < v_amount THEN
        UPDATE obol.licenses l SET held = l.held - v_amount + v_limited_amount
         WHERE l.license_id = p_license_id
        RETURNING l.balance - l.held, v_limited_amount INTO v_available, v_amount;
    END IF;
    v_expires_at := CASE WHEN p_process_id IS NULL THEN v_now + make_interval(secs => p_expires_in_s) END;
    INSERT INTO obol.holds (license_id, hold_id, amount, process_id, expires_at, model, price,
                            idempotency_key, reference, available_after, opened_at, key_id, limited_by)
    VALUES (p_license_id, p_hold_id, v_amount, p_process_id, v_expires_at, p_model, p_price,
            p_idempotency_key, p_reference, v_available, v_now, v_key_id, v_limited_by)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the hold was opened');
    END IF;
    IF p_idempotency_key IS NOT NULL THEN
        PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, p_hold_id);
    END IF;
    RETURN QUERY SELECT 'opened', p_hold_id, v_amount, 'held', v_expires_at, v_available, NULL::bigint, NULL::bigint, NULL::bytea;
END
$$;

--
-- Name: open_payment(uuid, bytea, uuid, text, text, text, text, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.open_payment(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_package_id text, p_success_url text, p_cancel_url text, p_idempotency_key text, p_fingerprint bytea) RETURNS TABLE(payment_id uuid, package_id text, name text, price bigint, currency text, credits bigint, success_url text, cancel_url text, checkout_url text, expires_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    c_most_pending constant bigint := 20;
    v_now timestamptz;
    v_key obol.idempotency_keys;
    v_payment_id uuid;
    v_payment obol.payments;
    v_package obol.packages;
    v_pending bigint;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_key := obol.find_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint);
    v_payment_id := COALESCE(v_key.cause_id, p_payment_id);
    SELECT p.* INTO v_payment FROM obol.payments p
     WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
    IF FOUND THEN
        IF v_payment.checkout_url IS NULL AND v_payment.created_at < v_now - interval '1 hour' THEN
            RAISE EXCEPTION 'ANSWER_GONE: the checkout of this idempotency key was never made'
                USING ERRCODE = 'OB410', HINT = 'Use a new key. Nothing was paid.';
        END IF;
    ELSE
        PERFORM obol.check_active(p_license_id);
        SELECT k.* INTO v_package FROM obol.packages k WHERE k.package_id = p_package_id AND k.is_active;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'PACKAGE_NOT_FOUND: no package % is sold', p_package_id USING ERRCODE = 'OB425';
        END IF;
        SELECT count(*) INTO v_pending FROM obol.payments p
         WHERE p.license_id = p_license_id AND p.state = 'pending' AND p.expires_at > v_now;
        IF v_pending >= c_most_pending THEN
            RAISE EXCEPTION 'LIMIT_EXCEEDED: % payments of this license are begun and not paid', v_pending
                USING ERRCODE = 'OB429',
                      DETAIL = jsonb_build_object('limit', 'pending_payments', 'limit_value', c_most_pending,
                                                  'used', v_pending, 'retry_after_s', 3600),
                      HINT = 'Pay one of them, or wait until one expires.';
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'license', p_idempotency_key, p_fingerprint, v_payment_id);
        END IF;
        INSERT INTO obol.payments
               (license_id, payment_id, package_id, name, price, currency, credits, lifetime_days,
                success_url, cancel_url, state, expires_at, created_at)
        VALUES (p_license_id, v_payment_id, v_package.package_id, v_package.name, v_package.price, v_package.currency,
                v_package.credits, v_package.lifetime_days, p_success_url, p_cancel_url, 'pending',
                date_trunc('second', v_now + interval '12 hours'), v_now);
    END IF;
    RETURN QUERY SELECT p.payment_id, p.package_id, p.name, p.price, p.currency, p.credits, p.success_url, p.cancel_url,
                        p.checkout_url, p.expires_at
                   FROM obol.payments p
                  WHERE p.license_id = p_license_id AND p.payment_id = v_payment_id;
END
$$;

--
-- Name: overview(date, date, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.overview(p_from date, p_to date, p_token_digest bytea, p_request_id text) RETURNS TABLE(day date, granted numeric, charged numeric, refunded numeric, expired numeric, voided numeric, adjusted numeric, shortfall numeric, outstanding numeric, undelivered numeric, operator_loss_answers bigint, operator_loss_tokens numeric, held numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_from timestamptz := p_from::timestamp AT TIME ZONE 'UTC';
    v_balance numeric;
    v_held numeric;
    v_counted_to timestamptz;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    SELECT COALESCE(sum(l.balance), 0), COALESCE(sum(l.held), 0) INTO v_balance, v_held FROM obol.licenses l;
    -- What is kept ends there, and what came since is added up now: in the one snapshot of the caller's statement.
    SELECT max(r.begins_at) + interval '10 minutes' INTO v_counted_to FROM obol.business_rollups r;
    RETURN QUERY
        WITH entries AS (
            SELECT s.day, sum(s.total) AS total, sum(s.granted) AS granted, sum(s.charged) AS charged,
                   sum(s.refunded) AS refunded, sum(s.expired) AS expired, sum(s.voided) AS voided,
                   sum(s.adjusted) AS adjusted, sum(s.shortfall) AS shortfall
              FROM (SELECT (r.begins_at AT TIME ZONE 'UTC')::date AS day, r.total, r.granted, r.charged, r.refunded,
                           r.expired, r.voided, r.adjusted, r.shortfall
                      FROM obol.business_rollups r
                     WHERE r.begins_at >= v_from
                    UNION ALL
                    SELECT (e.begins_at AT TIME ZONE 'UTC')::date, sum(e.total), sum(e.granted), sum(e.charged),
                           sum(e.refunded), sum(e.expired), sum(e.voided), sum(e.adjusted), sum(e.shortfall)
                      FROM obol.entry_business e
                     WHERE e.created_at >= GREATEST(v_from, v_counted_to)
                     GROUP BY 1) s
             GROUP BY s.day
        ), undelivered AS (
            SELECT (u.settled_at AT TIME ZONE 'UTC')::date AS day, sum(u.charge) AS credits
              FROM obol.undelivered_holds u WHERE u.settled_at >= v_from GROUP BY 1
        ), lost AS (
            SELECT (u.ended_at AT TIME ZONE 'UTC')::date AS day, count(*) AS answers, sum(u.tokens) AS tokens
              FROM obol.unpaid_holds u WHERE u.ended_at >= v_from GROUP BY 1
        ), days AS (
            SELECT d.day::date AS day
              FROM generate_series(p_from::timestamp, GREATEST(p_to, (clock_timestamp() AT TIME ZONE 'UTC')::date)::timestamp,
                                   interval '1 day') AS d (day)
        )
        SELECT o.* FROM (
            SELECT d.day, COALESCE(e.granted, 0), COALESCE(e.charged, 0), COALESCE(e.refunded, 0),
                   COALESCE(e.expired, 0), COALESCE(e.voided, 0), COALESCE(e.adjusted, 0), COALESCE(e.shortfall, 0),
                   -- What is owed now, without what came after the day.
                   v_balance - COALESCE(sum(e.total) OVER (
                       ORDER BY d.day DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0),
                   COALESCE(u.credits, 0), COALESCE(l.answers, 0), COALESCE(l.tokens, 0), v_held
              FROM days d
              LEFT JOIN entries e ON e.day = d.day
              LEFT JOIN undelivered u ON u.day = d.day
              LEFT JOIN lost l ON l.day = d.day
        ) o (day) WHERE o.day <= p_to ORDER BY o.day;
END
$$;

--
-- Name: pause_webhook(uuid, boolean, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.pause_webhook(p_webhook_id uuid, p_is_paused boolean, p_token_digest bytea, p_request_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    -- Its row first: two that resume it at once would take the rows below in two orders.
    UPDATE obol.webhooks w
       SET paused_at = CASE WHEN p_is_paused THEN v_now END, paused_because = CASE WHEN p_is_paused THEN 'operator' END,
           failing_since = NULL
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL
       AND (w.paused_at IS NOT NULL) <> p_is_paused;
    IF FOUND THEN
        IF NOT p_is_paused THEN
            UPDATE obol.deliveries d SET attempts = 0, first_attempt_at = NULL
             WHERE d.webhook_id = p_webhook_id AND d.state = 'waiting';
            UPDATE obol.delivery_queues q SET next_attempt_at = v_now
             WHERE q.webhook_id = p_webhook_id AND q.next_attempt_at IS NOT NULL AND q.claim_id IS NULL;
        END IF;
        PERFORM obol.note_act(NULL, v_actor, CASE WHEN p_is_paused THEN 'pause_webhook' ELSE 'resume_webhook' END,
                              p_webhook_id::text, NULL, p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    RETURN FOUND;
END
$$;

--
-- Name: prepare_archive(uuid, timestamp with time zone, integer, boolean, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.prepare_archive(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean, p_token_digest bytea, p_request_id text) RETURNS TABLE(first_entry_no bigint, last_entry_no bigint)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_counted_to timestamptz;
    v_first bigint;
    v_last bigint;
    v_balance bigint;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'manage');
    PERFORM obol.lock_license(p_license_id);
    SELECT COALESCE(max(a.last_entry_no), 0) + 1 INTO v_first FROM obol.archived a WHERE a.license_id = p_license_id;
    SELECT COALESCE(min(r.begins_at) FILTER (WHERE NOT r.is_final), max(r.begins_at) + interval '10 minutes', '-infinity')
      INTO v_counted_to FROM obol.business_rollups r;
    v_last := obol.archivable_through(p_license_id, LEAST(p_before, v_counted_to), p_most, p_with_undelivered);
    IF v_last < v_first THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);

    SELECT e.balance_after INTO v_balance FROM obol.ledger_entries e
     WHERE e.license_id = p_license_id AND e.entry_no = v_last;
    INSERT INTO obol.allotments (license_id, grant_id, first_entry_no, last_entry_no, balance_from, balance_to)
    SELECT a.license_id, a.grant_id, a.first_entry_no, v_last, a.balance_from, GREATEST(a.balance_to, v_balance)
      FROM obol.allotments a
     WHERE a.license_id = p_license_id AND a.first_entry_no BETWEEN 1 AND v_last AND a.last_entry_no > v_last
       AND a.balance_from > v_balance;
    DELETE FROM obol.allotments a
     WHERE a.license_id = p_license_id AND a.first_entry_no BETWEEN 1 AND v_last AND a.last_entry_no > v_last
       AND a.balance_to >= v_balance;
    UPDATE obol.allotments a
       SET first_entry_no = v_last + 1, balance_from = LEAST(a.balance_from, v_balance)
     WHERE a.license_id = p_license_id AND a.first_entry_no BETWEEN 1 AND v_last AND a.last_entry_no > v_last;
    RETURN QUERY SELECT v_first, v_last;
END
$$;

--
-- Name: purge_events(integer, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.purge_events(p_batch_size integer DEFAULT 1000, p_days integer DEFAULT 30) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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

--
-- Name: purge_expired(integer, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.purge_expired(p_batch_size integer DEFAULT 1000, p_key_days integer DEFAULT 30) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_batch_size integer := LEAST(GREATEST(p_batch_size, 1), 10000);
    v_old timestamptz := v_now - make_interval(days => LEAST(GREATEST(p_key_days, 30), 36500));
    v_bound timestamptz;
    v_answers integer;
    v_hold_keys integer;
    v_holds integer;
    v_keys integer;
    v_needed uuid[];
BEGIN
    SELECT max(k.answer_expires_at) INTO v_bound
      FROM (SELECT i.answer_expires_at FROM obol.idempotency_keys i
             WHERE i.answer_expires_at <= v_now
             ORDER BY i.answer_expires_at LIMIT v_batch_size) k;
    UPDATE obol.idempotency_keys i
       SET answer = NULL, answer_expires_at = NULL
     WHERE i.answer_expires_at <= v_bound;
    GET DIAGNOSTICS v_answers = ROW_COUNT;

    -- The keys go first, or one would name nothing. What is settled late meanwhile is no longer
    -- 'expired', and where its key is gone already, book_charge refuses it.
    SELECT max(e.ended_at) INTO v_bound
      FROM (SELECT h.ended_at FROM obol.holds h
             WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_old
             ORDER BY h.ended_at LIMIT v_batch_size) e;
    DELETE FROM obol.idempotency_keys i
     USING obol.holds h
     WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_bound
       AND i.license_id = h.license_id AND i.scope = 'license'
       AND i.idempotency_key = h.idempotency_key AND i.cause_id = h.hold_id;
    GET DIAGNOSTICS v_hold_keys = ROW_COUNT;
    DELETE FROM obol.holds h
     WHERE h.state IN ('released', 'expired') AND h.ended_at <= v_bound;
    GET DIAGNOSTICS v_holds = ROW_COUNT;

    SELECT max(k.claimed_at) INTO v_bound
      FROM (SELECT i.claimed_at FROM obol.idempotency_keys i
             WHERE i.claimed_at <= v_old
               AND NOT EXISTS (SELECT FROM obol.holds h
                                WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                                  AND h.state = 'held')
             ORDER BY i.claimed_at LIMIT v_batch_size) k;
    DELETE FROM obol.idempotency_keys i
     WHERE i.claimed_at <= v_bound
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.state = 'held');
    GET DIAGNOSTICS v_keys = ROW_COUNT;

    SELECT COALESCE(array_agg(DISTINCT h.process_id) FILTER (WHERE h.process_id IS NOT NULL), '{}') INTO v_needed
      FROM obol.holds h WHERE h.state = 'held';
    DELETE FROM obol.processes p
     WHERE p.lease_expires_at < v_now - interval '1 day' AND p.process_id <> ALL (v_needed);
    RETURN v_answers + v_hold_keys + v_holds + v_keys;
END
$$;

--
-- Name: queue_delivery(uuid, bigint, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.queue_delivery(p_license_id uuid, p_event_no bigint, p_webhook_id uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    INSERT INTO obol.deliveries (license_id, event_no, webhook_id)
    VALUES (p_license_id, p_event_no, p_webhook_id)
    ON CONFLICT (license_id, event_no, webhook_id) DO UPDATE
       SET state = 'waiting', attempts = 0, first_attempt_at = NULL;
    -- After that row: whoever finds that nothing waits has this one locked, and says so before this goes on.
    INSERT INTO obol.delivery_queues AS q (license_id, webhook_id, next_attempt_at)
    VALUES (p_license_id, p_webhook_id, v_now)
    ON CONFLICT (license_id, webhook_id) DO UPDATE
       SET next_attempt_at = COALESCE(q.next_attempt_at, excluded.next_attempt_at);
END
$$;

--
-- Name: recent_licenses(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.recent_licenses(p_since timestamp with time zone) RETURNS SETOF uuid
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT e.license_id FROM obol.ledger_entries e WHERE e.created_at >= p_since
        UNION
        SELECT h.license_id FROM obol.holds h WHERE h.state = 'held'
        UNION
        SELECT h.license_id FROM obol.holds h WHERE h.state IN ('released', 'expired') AND h.ended_at >= p_since;
END
$$;

--
-- Name: refund(uuid, uuid, text, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refund(p_license_id uuid, p_cause_id uuid, p_reference text, p_withheld boolean DEFAULT false) RETURNS TABLE(amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_hold obol.holds;
    v_left bigint;
    v_entry_no bigint;
BEGIN
    UPDATE obol.licenses l SET entry_count = l.entry_count WHERE l.license_id = p_license_id;
    RETURN QUERY SELECT r.amount, r.balance_after FROM obol.ledger_entries r
                  WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id
                  ORDER BY r.entry_no LIMIT 1;
    IF FOUND THEN
        RETURN;
    END IF;
    v_left := obol.refundable(p_license_id, p_cause_id);
    IF v_left IS NULL AND NOT p_withheld THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
    PERFORM FROM obol.idempotency_keys i
      WHERE i.license_id = p_license_id AND i.cause_id = p_cause_id
        AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp();
    IF v_left IS NULL OR (p_withheld AND FOUND) THEN
        RETURN;
    END IF;
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_entry_no := obol.give_back(p_license_id, p_cause_id, gen_random_uuid(), v_left, p_reference);
    RETURN QUERY SELECT e.amount, e.balance_after FROM obol.ledger_entries e
                  WHERE e.license_id = p_license_id AND e.entry_no = v_entry_no;
    IF NOT p_withheld THEN
        PERFORM obol.note_act(p_license_id, obol.check_token(NULL, 'grant'), 'refund', p_cause_id::text,
                              jsonb_build_object('amount', v_left, 'reason', p_reference), NULL);
    ELSE
        SELECT h.* INTO v_hold FROM obol.holds h
         WHERE h.license_id = p_license_id AND h.hold_id = p_cause_id;
        PERFORM obol.free_idempotency_key(v_hold);
    END IF;
END
$$;

--
-- Name: refund_v2(uuid, uuid, uuid, bigint, text, text, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refund_v2(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(refund_id uuid, amount bigint, balance bigint, lapsed bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_key obol.idempotency_keys;
    v_refund_id uuid;
    v_left bigint;
    v_entry_no bigint;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_key := obol.find_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint);
    v_refund_id := COALESCE(v_key.cause_id, p_refund_id);
    v_left := obol.refundable(p_license_id, p_cause_id);
    IF v_left IS NULL THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge for %', p_license_id, p_cause_id
            USING ERRCODE = 'OB404';
    END IF;
    -- Asked again, or whole though it has come back whole: the refund that there is.
    SELECT r.entry_no INTO v_entry_no FROM obol.ledger_entries r
     WHERE r.license_id = p_license_id AND r.kind = 'refund' AND r.cause_id = p_cause_id
       AND (r.part_id = v_refund_id OR (p_amount IS NULL AND v_left = 0))
     ORDER BY COALESCE(r.part_id = v_refund_id, false) DESC, r.entry_no DESC
     LIMIT 1;
    IF NOT FOUND THEN
        IF p_amount < 1 THEN
            PERFORM obol.refuse_amount('amount', 1);
        ELSIF p_amount > v_left THEN
            RAISE EXCEPTION 'REFUND_EXCEEDS_CHARGE: % credits were to be given back, and % of the charge are left',
                    p_amount, v_left
                USING ERRCODE = 'OB416', DETAIL = json_build_object('refundable', v_left),
                      HINT = format('Give back %s at most.', v_left);
        END IF;
        IF p_idempotency_key IS NOT NULL THEN
            PERFORM obol.claim_idempotency_key(p_license_id, 'operator', p_idempotency_key, p_fingerprint, v_refund_id);
        END IF;
        PERFORM obol.bring_up_to_date(p_license_id, true);
        v_entry_no := obol.give_back(p_license_id, p_cause_id, v_refund_id, COALESCE(p_amount, v_left), p_reason);
        PERFORM obol.note_act(p_license_id, v_actor, 'refund', p_cause_id::text,
                              jsonb_build_object('amount', COALESCE(p_amount, v_left), 'reason', p_reason), p_request_id);
    END IF;
    RETURN QUERY
        SELECT r.part_id, r.amount, r.balance_after,
               COALESCE((SELECT sum(a.balance_to - a.balance_from)::bigint
                           FROM obol.allotments a
                           JOIN obol.grants g ON g.license_id = p_license_id AND g.grant_id = a.grant_id
                          WHERE a.license_id = p_license_id AND a.last_entry_no = r.entry_no
                            AND LEAST(g.voided_at, g.expires_at) <= r.created_at), 0)
          FROM obol.ledger_entries r
         WHERE r.license_id = p_license_id AND r.entry_no = v_entry_no;
END
$$;

--
-- Name: refund_withheld(uuid, uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refund_withheld(p_license_id uuid, p_hold_id uuid, p_process_id uuid) RETURNS TABLE(amount bigint, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM FROM obol.holds h
      WHERE h.license_id = p_license_id AND h.hold_id = p_hold_id
        AND h.process_id = p_process_id AND h.delivered_at IS NULL;
    IF FOUND THEN
        RETURN QUERY SELECT r.amount, r.balance
                       FROM obol.refund(p_license_id, p_hold_id, 'answer withheld', true) r;
    END IF;
END
$$;

--
-- Name: refundable(uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refundable(p_license_id uuid, p_cause_id uuid) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN (SELECT -e.amount - COALESCE((SELECT sum(r.amount) FROM obol.ledger_entries r
                                          WHERE r.license_id = p_license_id AND r.kind = 'refund'
                                            AND r.cause_id = p_cause_id), 0)
              FROM obol.ledger_entries e
             WHERE e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id);
END
$$;

--
-- Name: refuse_amount(text, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refuse_amount(p_name text, p_least integer) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'INVALID_AMOUNT: % must be a whole number of credits, at least %', p_name, p_least
        USING ERRCODE = 'OB400';
END
$$;

--
-- Name: refuse_archived(uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refuse_archived(p_license_id uuid, p_cause_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_archived obol.archived;
BEGIN
    SELECT a.* INTO v_archived FROM obol.archived a WHERE a.license_id = p_license_id;
    IF FOUND THEN
        RAISE EXCEPTION 'HOLD_NOT_FOUND: license % has no charge or deduction % after entry %', p_license_id, p_cause_id,
                v_archived.last_entry_no
            USING ERRCODE = 'OB404',
                  HINT = format('Entries up to that one, of %s and before, are in the archive: they can be read there, and '
                                'are not refunded any more. An adjustment corrects a balance.',
                                to_char(v_archived.last_entry_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'));
    END IF;
END
$$;

--
-- Name: refuse_hold(obol.holds, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refuse_hold(p_hold obol.holds, p_amount bigint) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF p_hold.state <> 'held' OR p_hold.expires_at <= clock_timestamp() THEN
        RAISE EXCEPTION 'HOLD_NOT_OPEN: the hold is %',
                CASE p_hold.state WHEN 'held' THEN 'expired' ELSE p_hold.state END
            USING ERRCODE = 'OB409', HINT = 'Open a new hold, or deduct the amount.';
    END IF;
    IF p_hold.process_id IS NULL AND p_amount > p_hold.amount THEN
        RAISE EXCEPTION 'SETTLE_EXCEEDS_HOLD: % is more than the % credits held', p_amount, p_hold.amount
            USING ERRCODE = 'OB421',
                  DETAIL = json_build_object('required', p_amount, 'held', p_hold.amount),
                  HINT = 'Settle at most what is held, and deduct the rest.';
    END IF;
    PERFORM obol.ask_again('the hold changed');
END
$$;

--
-- Name: refuse_key(uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refuse_key(p_license_id uuid, p_key_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'KEY_NOT_FOUND: this license has no key % that is not revoked', p_key_id USING ERRCODE = 'OB444';
END
$$;

--
-- Name: refuse_license(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.refuse_license(p_license_id uuid) RETURNS void
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'INVALID_LICENSE: there is no license %', p_license_id USING ERRCODE = 'OB403';
END
$$;

--
-- Name: register_first_token(bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.register_first_token(p_token_digest bytea) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    c_name constant text := 'OBOL_ADMIN_TOKEN';
    v_now timestamptz := clock_timestamp();
    v_actor text := obol.check_token(NULL, 'tokens');
    v_token obol.admin_tokens;
    v_token_id uuid := gen_random_uuid();
BEGIN
    SELECT t.* INTO v_token FROM obol.admin_tokens t WHERE t.token_digest = p_token_digest;
    IF NOT FOUND THEN
        -- Two processes that start at once: the second finds what the first has done.
        LOCK TABLE obol.admin_tokens IN SHARE ROW EXCLUSIVE MODE;
        SELECT t.* INTO v_token FROM obol.admin_tokens t WHERE t.token_digest = p_token_digest;
    END IF;
    IF v_token.revoked_at IS NOT NULL THEN
        RETURN 'revoked';
    ELSIF v_token.token_id IS NOT NULL THEN
        RETURN 'known';
    END IF;
    UPDATE obol.admin_tokens t SET revoked_at = v_now
     WHERE t.revoked_at IS NULL AND (t.is_first OR t.name = c_name);
    INSERT INTO obol.admin_tokens (token_id, token_digest, name, scopes, is_first, created_at)
    VALUES (v_token_id, p_token_digest, c_name, ARRAY['read', 'grant', 'manage', 'tokens'], true, v_now);
    PERFORM obol.note_act(NULL, v_actor, 'register_first_token', c_name,
                          jsonb_build_object('token_id', v_token_id), NULL);
    RETURN 'registered';
END
$$;

--
-- Name: release_hold(uuid, bytea, uuid, uuid, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.release_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_unpaid jsonb) RETURNS TABLE(amount bigint, state text, expires_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
        IF v_hold.limited_by IS NOT NULL THEN
            PERFORM obol.count_end(v_hold, -v_hold.amount, -1);
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

--
-- Name: replay_events(uuid, uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.replay_events(p_webhook_id uuid, p_event_id uuid, p_token_digest bytea, p_request_id text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_event record;
    v_count integer := 0;
BEGIN
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    FOR v_event IN
        SELECT e.license_id, e.event_no FROM obol.events e WHERE e.event_id = p_event_id
        UNION ALL
        SELECT d.license_id, d.event_no FROM obol.deliveries d
         WHERE p_event_id IS NULL AND d.webhook_id = p_webhook_id AND d.state = 'failed'
        ORDER BY 1, 2
    LOOP
        PERFORM obol.queue_delivery(v_event.license_id, v_event.event_no, p_webhook_id);
        v_count := v_count + 1;
    END LOOP;
    IF v_count > 0 THEN
        PERFORM obol.note_act(NULL, v_actor, 'replay_events', p_webhook_id::text, jsonb_build_object(
            'event_id', p_event_id, 'count', v_count), p_request_id);
    END IF;
    RETURN v_count;
END
$$;

--
-- Name: replay_hold(uuid, uuid, text, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.replay_hold(p_license_id uuid, p_hold_id uuid, p_idempotency_key text, p_fingerprint bytea) RETURNS TABLE(outcome text, hold_id uuid, amount bigint, state text, expires_at timestamp with time zone, available bigint, charge bigint, balance bigint, answer bytea)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
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
           OR (obol.refundable(p_license_id, v_hold.hold_id) = 0
               AND EXISTS (SELECT FROM obol.ledger_entries e
                            WHERE e.license_id = p_license_id AND e.kind = 'refund'
                              AND e.cause_id = v_hold.hold_id))) THEN
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

--
-- Name: revoke_key(uuid, uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
        PERFORM obol.write_event(p_license_id, 'key.revoked', p_key_id, jsonb_build_object(
            'key_id', p_key_id, 'revoked_at', obol.utc(v_now),
            'name', (SELECT k.name FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id)));
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
END
$$;

--
-- Name: revoke_own_key(uuid, bytea, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.revoke_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, false);
    UPDATE obol.license_keys k
       SET revoked_at = v_now
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL;
    IF FOUND THEN
        PERFORM obol.write_event(p_license_id, 'key.revoked', p_key_id, jsonb_build_object(
            'key_id', p_key_id, 'revoked_at', obol.utc(v_now),
            'name', (SELECT k.name FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id)));
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k
                  WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
END
$$;

--
-- Name: revoke_token(uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.revoke_token(p_token_id uuid, p_token_digest bytea, p_request_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_actor text := obol.check_token(p_token_digest, 'tokens');
    v_name text;
BEGIN
    UPDATE obol.admin_tokens t SET revoked_at = v_now
     WHERE t.token_id = p_token_id AND t.revoked_at IS NULL
    RETURNING t.name INTO v_name;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'revoke_token', v_name,
                              jsonb_build_object('token_id', p_token_id), p_request_id);
        RETURN true;
    END IF;
    RETURN EXISTS (SELECT FROM obol.admin_tokens t WHERE t.token_id = p_token_id);
END
$$;

--
-- Name: roll_up_business(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.roll_up_business() RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    c_width constant interval := '10 minutes';
    c_origin constant timestamptz := '2000-01-01T00:00:00Z';
    v_now timestamptz := clock_timestamp();
    v_final_at timestamptz := date_bin(c_width, v_now - interval '1 day', c_origin);
    v_from timestamptz;
    v_to timestamptz;
    v_count integer;
BEGIN
    SELECT max(r.begins_at) + c_width INTO v_from FROM obol.business_rollups r;
    IF v_from IS NULL THEN
        -- A license is older than its entries; the hour is for clocks that differ.
        SELECT date_bin(c_width, min(l.created_at) - interval '1 hour', c_origin) INTO v_from FROM obol.licenses l;
    END IF;
    v_to := LEAST(date_bin(c_width, v_now - c_width, c_origin), v_from + interval '1 day');
    IF v_from >= v_to THEN
        SELECT min(r.begins_at) INTO v_from FROM obol.business_rollups r
         WHERE NOT r.is_final AND r.begins_at < v_final_at;
        v_to := LEAST(v_final_at, v_from + interval '1 day');
    END IF;
    INSERT INTO obol.business_rollups AS r
           (begins_at, is_final, total, granted, charged, refunded, expired, voided, adjusted, shortfall)
    SELECT t.begins_at, t.begins_at < v_final_at, COALESCE(b.total, 0), COALESCE(b.granted, 0), COALESCE(b.charged, 0),
           COALESCE(b.refunded, 0), COALESCE(b.expired, 0), COALESCE(b.voided, 0), COALESCE(b.adjusted, 0),
           COALESCE(b.shortfall, 0)
      FROM generate_series(v_from, v_to - c_width, c_width) AS t (begins_at)
      LEFT JOIN (SELECT e.begins_at, sum(e.total) AS total, sum(e.granted) AS granted, sum(e.charged) AS charged,
                        sum(e.refunded) AS refunded, sum(e.expired) AS expired, sum(e.voided) AS voided,
                        sum(e.adjusted) AS adjusted, sum(e.shortfall) AS shortfall
                   FROM obol.entry_business e
                  WHERE e.created_at >= v_from AND e.created_at < v_to
                  GROUP BY e.begins_at) b ON b.begins_at = t.begins_at
     ORDER BY t.begins_at
    ON CONFLICT (begins_at) DO UPDATE
       SET is_final = excluded.is_final, total = excluded.total, granted = excluded.granted, charged = excluded.charged,
           refunded = excluded.refunded, expired = excluded.expired, voided = excluded.voided,
           adjusted = excluded.adjusted, shortfall = excluded.shortfall;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END
$$;

--
-- Name: roll_up_usage(uuid, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.roll_up_usage(p_license_id uuid, p_most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_after bigint;
    v_through bigint;
BEGIN
    INSERT INTO obol.usage_watermarks (license_id, entry_no)
    SELECT l.license_id, 0 FROM obol.licenses l WHERE l.license_id = p_license_id
    ON CONFLICT DO NOTHING;
    SELECT w.entry_no INTO v_after FROM obol.usage_watermarks w
     WHERE w.license_id = p_license_id FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN 0;
    END IF;
    -- The number of an entry is taken under the lock of its license: whoever sees one sees all below it.
    SELECT LEAST(l.entry_count, v_after + p_most) INTO v_through
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    INSERT INTO obol.usage_rollups AS r
           (license_id, day, model, key_id, calls, credits, input_tokens, output_tokens, cache_write_5m_tokens,
            cache_write_1h_tokens, cache_read_tokens, refunded)
    SELECT p_license_id, u.day, u.model, u.key_id, sum(u.calls), sum(u.credits), sum(u.input_tokens), sum(u.output_tokens),
           sum(u.cache_write_5m_tokens), sum(u.cache_write_1h_tokens), sum(u.cache_read_tokens), sum(u.refunded)
      FROM obol.entry_usage u
     WHERE u.license_id = p_license_id AND u.entry_no > v_after AND u.entry_no <= v_through
     GROUP BY u.day, u.model, u.key_id
    ON CONFLICT (license_id, day, model, key_id) DO UPDATE
       SET calls = r.calls + excluded.calls,
           credits = r.credits + excluded.credits,
           input_tokens = r.input_tokens + excluded.input_tokens,
           output_tokens = r.output_tokens + excluded.output_tokens,
           cache_write_5m_tokens = r.cache_write_5m_tokens + excluded.cache_write_5m_tokens,
           cache_write_1h_tokens = r.cache_write_1h_tokens + excluded.cache_write_1h_tokens,
           cache_read_tokens = r.cache_read_tokens + excluded.cache_read_tokens,
           refunded = r.refunded + excluded.refunded;
    UPDATE obol.usage_watermarks w SET entry_no = v_through
     WHERE w.license_id = p_license_id AND w.entry_no < v_through;
    RETURN v_through - v_after;
END
$$;

--
-- Name: rotate_license_key(uuid, bytea, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.rotate_license_key(p_license_id uuid, p_key_digest bytea, p_overlap_s integer) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz;
    v_ends_at timestamptz;
BEGIN
    -- The license row's lock serialises two rotations; its balance is not read.
    PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    v_now := clock_timestamp();
    v_ends_at := v_now + make_interval(secs => p_overlap_s);

    INSERT INTO obol.license_keys (license_id, key_digest, created_at)
    VALUES (p_license_id, p_key_digest, v_now)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        UPDATE obol.license_keys k
           SET expires_at = v_ends_at
         WHERE k.license_id = p_license_id AND k.key_digest <> p_key_digest
           AND (k.expires_at IS NULL OR k.expires_at > v_ends_at);
    ELSE
        SELECT k.created_at + make_interval(secs => p_overlap_s) INTO v_ends_at
          FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    END IF;
    RETURN v_ends_at;
END
$$;

--
-- Name: rotate_license_key_v2(uuid, bytea, integer, uuid, uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.rotate_license_key_v2(p_license_id uuid, p_key_digest bytea, p_overlap_s integer, p_key_id uuid, p_only_key_id uuid, p_token_digest bytea, p_request_id text) RETURNS timestamp with time zone
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz;
    v_ends_at timestamptz;
    v_old obol.license_keys;
    v_new obol.license_keys;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    v_ends_at := v_now + make_interval(secs => p_overlap_s);

    SELECT k.* INTO v_new FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    IF FOUND THEN
        RETURN v_new.created_at + make_interval(secs => p_overlap_s);
    END IF;
    IF p_only_key_id IS NOT NULL THEN
        SELECT k.* INTO v_old FROM obol.license_keys k
         WHERE k.license_id = p_license_id AND k.key_id = p_only_key_id
           AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > v_now);
        IF NOT FOUND THEN
            PERFORM obol.refuse_key(p_license_id, p_only_key_id);
        END IF;
    END IF;

    INSERT INTO obol.license_keys (license_id, key_digest, key_id, created_at, name, limits, expires_at)
    VALUES (p_license_id, p_key_digest, p_key_id, v_now, COALESCE(v_old.name, ''), v_old.limits, v_old.expires_at);
    UPDATE obol.license_keys k
       SET expires_at = v_ends_at
     WHERE k.license_id = p_license_id AND k.key_digest <> p_key_digest
       AND (p_only_key_id IS NULL OR k.key_id = p_only_key_id)
       AND k.revoked_at IS NULL
       AND (k.expires_at IS NULL OR k.expires_at > v_ends_at);
    IF v_ends_at <= v_now THEN
        PERFORM obol.write_event(p_license_id, 'key.revoked', k.key_id, jsonb_build_object(
                    'key_id', k.key_id, 'revoked_at', obol.utc(v_now), 'name', k.name))
           FROM obol.license_keys k
          WHERE k.license_id = p_license_id AND k.revoked_at IS NULL AND k.expires_at = v_ends_at
          ORDER BY k.created_at, k.key_id;
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'rotate_license_key', p_key_id::text, jsonb_build_object(
        'overlap_s', p_overlap_s, 'older_keys_end_at', v_ends_at, 'only_key_id', p_only_key_id), p_request_id);
    RETURN v_ends_at;
END
$$;

--
-- Name: rotate_webhook(uuid, bytea, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.rotate_webhook(p_webhook_id uuid, p_secret bytea, p_overlap_s integer, p_token_digest bytea, p_request_id text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_until timestamptz := clock_timestamp() + make_interval(secs => p_overlap_s);
BEGIN
    UPDATE obol.webhooks w
       SET secret = p_secret, old_secret = w.secret, old_secret_until = v_until
     -- The same again, because its outcome was not known, must not push the old one out.
     WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL AND w.secret <> p_secret;
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'rotate_webhook', p_webhook_id::text, jsonb_build_object(
            'overlap_s', p_overlap_s), p_request_id);
        RETURN true;
    END IF;
    PERFORM FROM obol.webhooks w WHERE w.webhook_id = p_webhook_id AND w.kind = 'http' AND w.deleted_at IS NULL;
    RETURN FOUND;
END
$$;

--
-- Name: set_alerts(uuid, jsonb, text, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_alerts(p_license_id uuid, p_alerts jsonb, p_email text, p_token_digest bytea, p_request_id text) RETURNS TABLE(alerts jsonb, email text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $_$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_alerts jsonb;
    v_email text;
    v_base bigint;
    v_next bigint;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    IF p_alerts <> 'null' AND (
        jsonb_typeof(p_alerts) <> 'object'
        OR jsonb_path_exists(p_alerts, '$.keyvalue() ? (@.key <> "credits" && @.key <> "percent")', '{}', true)
        OR jsonb_path_exists(p_alerts, 'strict $.* ? (@.type() <> "array")', '{}', true)
        OR jsonb_path_exists(p_alerts, '$.*.size() ? (@ > 10)')
        OR jsonb_path_exists(p_alerts, '$.*[*] ? (@.type() <> "number" || @ < 1 || @.floor() <> @)')
        OR jsonb_path_exists(p_alerts, '$.credits[*] ? (@ > 9223372036854775807)')
        OR jsonb_path_exists(p_alerts, '$.percent[*] ? (@ > 99)')
    ) THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the thresholds cannot be %', p_alerts
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'alerts'),
                  HINT = 'Name ten whole numbers of credits from 1 on, and ten of percent from 1 to 99, at most.';
    END IF;
    SELECT l.alerts, l.email, l.alert_base, l.balance, l.notify_below INTO v_before
      FROM obol.licenses l WHERE l.license_id = p_license_id;
    v_alerts := CASE WHEN p_alerts IS NULL THEN v_before.alerts ELSE NULLIF(p_alerts, 'null') END;
    v_email := CASE WHEN p_email IS NULL THEN v_before.email ELSE NULLIF(p_email, '') END;
    -- Where no top-up was noted, the balance of now is what there is to take percents of.
    v_base := GREATEST(v_before.alert_base, v_before.balance);
    v_next := CASE WHEN v_alerts IS NOT DISTINCT FROM v_before.alerts THEN v_before.notify_below
                   WHEN v_before.balance = 0 THEN v_before.notify_below
                   ELSE obol.next_threshold(v_alerts, v_base, v_before.balance) END;
    IF v_alerts IS DISTINCT FROM v_before.alerts OR v_email IS DISTINCT FROM v_before.email THEN
        UPDATE obol.licenses l
           SET alerts = v_alerts, email = v_email, alert_base = v_base, notify_below = v_next
         WHERE l.license_id = p_license_id;
        PERFORM obol.note_act(p_license_id, v_actor, 'set_alerts', NULL, jsonb_build_object(
            'before', jsonb_build_object('alerts', v_before.alerts, 'email', v_before.email),
            'after', jsonb_build_object('alerts', v_alerts, 'email', v_email)), p_request_id);
    END IF;
    RETURN QUERY SELECT v_alerts, v_email;
END
$_$;

--
-- Name: set_key(uuid, uuid, text, timestamp with time zone, boolean, jsonb, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_key(p_license_id uuid, p_key_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_limits jsonb, p_token_digest bytea, p_request_id text) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_after record;
    v_limits jsonb;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    SELECT k.name, k.expires_at, k.limits INTO v_before
      FROM obol.license_keys k
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
    IF NOT p_allow_past AND p_expires_at <= clock_timestamp() AND p_expires_at IS DISTINCT FROM v_before.expires_at THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'expires_at'),
                  HINT = 'Name a later time, or allow a past one: allow_past, or --allow-past. Or revoke the key.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before.limits, p_limits);
    UPDATE obol.license_keys k
       SET name = COALESCE(p_name, k.name),
           expires_at = NULLIF(COALESCE(p_expires_at, k.expires_at), 'infinity'),
           limits = v_limits
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id
    RETURNING k.name, k.expires_at, k.limits INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'set_key', p_key_id::text, jsonb_build_object(
            'before', to_jsonb(v_before), 'after', to_jsonb(v_after)), p_request_id);
    END IF;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

--
-- Name: set_license(uuid, text, timestamp with time zone, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_license(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    UPDATE obol.licenses l
       SET name = COALESCE(p_name, l.name),
           expires_at = NULLIF(COALESCE(p_expires_at, l.expires_at), 'infinity')
     WHERE l.license_id = p_license_id
       AND (p_allow_past OR p_expires_at IS NULL OR p_expires_at > v_now OR p_expires_at = l.expires_at);
    IF NOT FOUND THEN
        PERFORM FROM obol.licenses l WHERE l.license_id = p_license_id;
        IF NOT FOUND THEN
            PERFORM obol.refuse_license(p_license_id);
        END IF;
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or allow a past one: --allow-past.';
    END IF;
END
$$;

--
-- Name: set_license_status(uuid, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_license_status(p_license_id uuid, p_status text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    UPDATE obol.licenses l SET status = p_status WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

--
-- Name: set_license_v2(uuid, text, timestamp with time zone, boolean, text, jsonb, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_license_v2(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_status text, p_limits jsonb, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, name text, status text, expires_at timestamp with time zone, balance bigint, held bigint, available bigint, external_id text, created_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_before record;
    v_after record;
    v_limits jsonb;
BEGIN
    SELECT l.name, l.expires_at, l.status, l.limits INTO v_before
      FROM obol.licenses l WHERE l.license_id = p_license_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    IF NOT p_allow_past AND p_expires_at <= clock_timestamp() AND p_expires_at IS DISTINCT FROM v_before.expires_at THEN
        RAISE EXCEPTION 'INVALID_AMOUNT: the expiry % is past', p_expires_at
            USING ERRCODE = 'OB400', HINT = 'Name a later time, or allow a past one: allow_past, or --allow-past.';
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before.limits, p_limits);
    UPDATE obol.licenses l
       SET name = COALESCE(p_name, l.name),
           expires_at = NULLIF(COALESCE(p_expires_at, l.expires_at), 'infinity'),
           status = COALESCE(p_status, l.status),
           limits = v_limits
     WHERE l.license_id = p_license_id
    RETURNING l.name, l.expires_at, l.status, l.limits INTO v_after;
    IF v_after IS DISTINCT FROM v_before THEN
        PERFORM obol.note_act(p_license_id, v_actor, 'set_license', NULL, jsonb_build_object(
            'before', jsonb_build_object(
                'name', v_before.name, 'expires_at', v_before.expires_at, 'status', v_before.status, 'limits', v_before.limits),
            'after', jsonb_build_object(
                'name', v_after.name, 'expires_at', v_after.expires_at, 'status', v_after.status, 'limits', v_after.limits)), p_request_id);
    END IF;
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
END
$$;

--
-- Name: set_own_key(uuid, bytea, uuid, text, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_name text, p_limits jsonb) RETURNS TABLE(key_id uuid, name text, created_at timestamp with time zone, expires_at timestamp with time zone, last_used_at timestamp with time zone, revoked_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_before jsonb;
    v_limits jsonb;
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    PERFORM obol.lock_license(p_license_id);
    PERFORM obol.check_key_maker(p_license_id, p_key_digest, true);
    SELECT k.limits INTO v_before FROM obol.license_keys k
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id AND k.made_by IS NOT NULL AND k.revoked_at IS NULL;
    IF NOT FOUND THEN
        PERFORM obol.refuse_key(p_license_id, p_key_id);
    END IF;
    v_limits := obol.merge_limits(p_license_id, v_before, p_limits);
    UPDATE obol.license_keys k
       SET name = COALESCE(p_name, k.name), limits = v_limits
     WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    RETURN QUERY SELECT k.key_id, k.name, k.created_at, k.expires_at, k.last_used_at, k.revoked_at, k.limits
                   FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
END
$$;

--
-- Name: set_own_keys(uuid, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_own_keys(p_license_id uuid, p_most integer, p_token_digest bytea, p_request_id text) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    -- Whoever changes a license is told what it is then, without the right to read.
    v_actor text := obol.check_token(p_token_digest, CASE
        WHEN p_most IS NOT NULL OR EXISTS (SELECT FROM obol.admin_tokens t
                                            WHERE t.token_digest = p_token_digest AND 'manage' = ANY (t.scopes))
        THEN 'manage' ELSE 'read' END);
    v_before integer;
BEGIN
    IF p_most IS NOT NULL THEN
        PERFORM obol.lock_license(p_license_id);
        IF p_most NOT BETWEEN 0 AND 100 THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: own_keys cannot be %', p_most
                USING ERRCODE = 'OB400', DETAIL = jsonb_build_object('field', 'own_keys'),
                      HINT = 'Name a whole number from 0 to 100.';
        END IF;
    END IF;
    SELECT l.most_own_keys INTO v_before FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
    IF p_most <> v_before THEN
        UPDATE obol.licenses l SET most_own_keys = p_most WHERE l.license_id = p_license_id;
        PERFORM obol.note_act(p_license_id, v_actor, 'set_own_keys', NULL, jsonb_build_object(
            'before', v_before, 'after', p_most), p_request_id);
    END IF;
    RETURN COALESCE(p_most, v_before);
END
$$;

--
-- Name: set_package(text, text, bigint, text, bigint, bigint, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_package(p_package_id text, p_name text, p_price bigint, p_currency text, p_credits bigint, p_lifetime_days bigint, p_token_digest bytea, p_request_id text) RETURNS TABLE(package_id text, name text, price bigint, currency text, credits bigint, lifetime_days bigint, is_active boolean)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_now timestamptz := clock_timestamp();
BEGIN
    IF p_price IS NULL OR p_price < 1 THEN
        PERFORM obol.refuse_amount('price', 1);
    ELSIF p_credits IS NULL OR p_credits < 1 THEN
        PERFORM obol.refuse_amount('credits', 1);
    ELSIF p_lifetime_days < 1 THEN
        PERFORM obol.refuse_amount('lifetime_days', 1);
    END IF;
    INSERT INTO obol.packages AS k
           (package_id, name, price, currency, credits, lifetime_days, is_active, changed_at)
    VALUES (p_package_id, p_name, p_price, p_currency, p_credits, p_lifetime_days, true, v_now)
    ON CONFLICT (package_id) DO UPDATE
       SET name = excluded.name, price = excluded.price, currency = excluded.currency, credits = excluded.credits,
           lifetime_days = excluded.lifetime_days, is_active = true, changed_at = excluded.changed_at
     WHERE (k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active)
           IS DISTINCT FROM (excluded.name, excluded.price, excluded.currency, excluded.credits, excluded.lifetime_days, true);
    IF FOUND THEN
        PERFORM obol.note_act(NULL, v_actor, 'set_package', p_package_id,
                              jsonb_build_object('name', p_name, 'price', p_price, 'currency', p_currency,
                                                 'credits', p_credits, 'lifetime_days', p_lifetime_days),
                              p_request_id);
    END IF;
    RETURN QUERY SELECT k.package_id, k.name, k.price, k.currency, k.credits, k.lifetime_days, k.is_active
                   FROM obol.packages k WHERE k.package_id = p_package_id;
END
$$;

--
-- Name: set_packages(jsonb, boolean, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_packages(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) RETURNS TABLE(package_id text, before jsonb, after jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_row record;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'manage');
    -- In one order, so that two that come at once do not wait for each other.
    FOR v_row IN SELECT r.package_id, r.terms FROM jsonb_to_recordset(p_rows) AS r (package_id text, terms jsonb)
                  ORDER BY r.package_id LOOP
        package_id := v_row.package_id;
        SELECT jsonb_build_object('name', k.name, 'price', k.price, 'currency', k.currency, 'credits', k.credits,
                                  'lifetime_days', k.lifetime_days, 'is_active', k.is_active)
          INTO before FROM obol.packages k WHERE k.package_id = v_row.package_id;
        IF jsonb_typeof(v_row.terms) = 'object' THEN
            after := v_row.terms || '{"is_active": true}';
        ELSIF before IS NULL THEN
            RAISE EXCEPTION 'PACKAGE_NOT_FOUND: there is no package %', v_row.package_id USING ERRCODE = 'OB425';
        ELSE
            after := before || '{"is_active": false}';
        END IF;
        CONTINUE WHEN before = after;
        IF p_dry_run THEN
            NULL;
        ELSIF (after ->> 'is_active')::boolean THEN
            PERFORM obol.set_package(v_row.package_id, after ->> 'name', (after ->> 'price')::bigint, after ->> 'currency',
                                     (after ->> 'credits')::bigint, (after ->> 'lifetime_days')::bigint, p_token_digest,
                                     p_request_id);
        ELSE
            PERFORM obol.end_package(v_row.package_id, p_token_digest, p_request_id);
        END IF;
        RETURN NEXT;
    END LOOP;
END
$$;

--
-- Name: set_prices(jsonb, boolean); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_prices(p_rows jsonb, p_dry_run boolean) RETURNS TABLE(model_pattern text, effective_from timestamp with time zone, before jsonb, after jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_now timestamptz;
    v_row record;
    v_known boolean;
    v_before jsonb;
BEGIN
    -- Readers go on; another writer waits, and then compares with what this one has written.
    LOCK TABLE obol.prices IN SHARE ROW EXCLUSIVE MODE;
    v_now := clock_timestamp();
    FOR v_row IN
        SELECT r.model_pattern AS pattern, COALESCE(r.effective_from, v_now) AS begins,
               NULLIF(r.price, 'null') AS price
          FROM jsonb_to_recordset(p_rows) AS r (model_pattern text, effective_from timestamptz, price jsonb)
    LOOP
        SELECT true, b.price INTO v_known, v_before FROM obol.price_book b
         WHERE b.model_pattern = v_row.pattern AND b.effective_from <= v_row.begins
         ORDER BY b.effective_from DESC LIMIT 1;
        CONTINUE WHEN v_known AND v_before IS NOT DISTINCT FROM v_row.price;

        IF v_row.begins < v_now THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: the price of % cannot begin at %, which is past', v_row.pattern, v_row.begins
                USING ERRCODE = 'OB400', HINT = 'Leave the time out for now, or name a later one.';
        END IF;
        PERFORM FROM (
            SELECT (f.figures ->> class)::bigint AS figure,
                   lag((f.figures ->> class)::bigint) OVER (PARTITION BY class ORDER BY f.step) AS below
              FROM jsonb_array_elements(jsonb_build_array(v_row.price) || COALESCE(v_row.price -> 'tiers', '[]'))
                   WITH ORDINALITY AS f (figures, step)
             CROSS JOIN unnest(ARRAY['input', 'output', 'cache_write_5m', 'cache_write_1h', 'cache_read']) AS class
        ) AS tiers WHERE figure < below;
        IF FOUND THEN
            RAISE EXCEPTION 'INVALID_AMOUNT: a tier of % is cheaper than the one below', v_row.pattern
                USING ERRCODE = 'OB400', HINT = 'Give it at least the figures of the tier below.';
        END IF;

        IF NOT p_dry_run THEN
            DELETE FROM obol.prices p WHERE p.model_pattern = v_row.pattern AND p.effective_from = v_row.begins;
            INSERT INTO obol.prices (model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)
            SELECT v_row.pattern, v_row.begins, f.input, f.output, f.cache_write_5m, f.cache_write_1h, f.cache_read
              FROM jsonb_populate_record(NULL::obol.prices, COALESCE(v_row.price, '{}')) AS f;
            INSERT INTO obol.price_tiers (model_pattern, effective_from, above_input_tokens,
                                          input, output, cache_write_5m, cache_write_1h, cache_read)
            SELECT v_row.pattern, v_row.begins, f.above_input_tokens,
                   f.input, f.output, f.cache_write_5m, f.cache_write_1h, f.cache_read
              FROM jsonb_populate_recordset(NULL::obol.price_tiers, COALESCE(v_row.price -> 'tiers', '[]')) AS f;
            PERFORM FROM obol.price_book b
              WHERE b.model_pattern = v_row.pattern AND b.effective_from = v_row.begins
                AND b.price IS NOT DISTINCT FROM v_row.price;
            IF NOT FOUND THEN
                RAISE EXCEPTION 'INVALID_AMOUNT: the price of % is not of the form of the price book', v_row.pattern
                    USING ERRCODE = 'OB400';
            END IF;
        END IF;
        RETURN QUERY SELECT v_row.pattern, v_row.begins, v_before, v_row.price;
    END LOOP;
END
$$;

--
-- Name: set_prices_v2(jsonb, boolean, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_prices_v2(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) RETURNS TABLE(model_pattern text, effective_from timestamp with time zone, before jsonb, after jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_changes jsonb;
BEGIN
    SELECT jsonb_agg(jsonb_build_object('model_pattern', s.model_pattern, 'effective_from', s.effective_from,
                                        'before', s.before, 'after', s.after))
      INTO v_changes FROM obol.set_prices(p_rows, p_dry_run) s;
    IF v_changes IS NOT NULL AND NOT p_dry_run THEN
        PERFORM obol.note_act(NULL, v_actor, 'set_prices', NULL, v_changes, p_request_id);
    END IF;
    RETURN QUERY
        SELECT c.model_pattern, c.effective_from, NULLIF(c.before, 'null'), NULLIF(c.after, 'null')
          FROM jsonb_to_recordset(v_changes)
            AS c (model_pattern text, effective_from timestamptz, before jsonb, after jsonb);
END
$$;

--
-- Name: set_stripe_secret(bytea, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.set_stripe_secret(p_signing_secret bytea, p_overlap_s bigint) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_actor text := obol.check_token(NULL, 'manage');
    v_now timestamptz := clock_timestamp();
    v_ends_at timestamptz := v_now + make_interval(secs => p_overlap_s);
    v_good bigint;
BEGIN
    DELETE FROM obol.stripe_secrets s WHERE s.expires_at <= v_now;
    UPDATE obol.stripe_secrets s SET expires_at = v_ends_at
     WHERE s.signing_secret <> p_signing_secret AND (s.expires_at IS NULL OR s.expires_at > v_ends_at);
    INSERT INTO obol.stripe_secrets (signing_secret, created_at)
    VALUES (p_signing_secret, v_now)
    ON CONFLICT (signing_secret) DO UPDATE SET expires_at = NULL;
    SELECT count(*) INTO v_good FROM obol.stripe_secrets s WHERE s.expires_at IS NULL OR s.expires_at > v_now;
    PERFORM obol.note_act(NULL, v_actor, 'set_stripe_secret', NULL, jsonb_build_object('overlap_s', p_overlap_s), NULL);
    RETURN v_good;
END
$$;

--
-- Name: settle_acts(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.settle_acts() RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    LOCK TABLE obol.admin_acts IN SHARE MODE;
    RETURN COALESCE((SELECT max(a.act_no) FROM obol.admin_acts a), 0);
END
$$;

--
-- Name: settle_hold(uuid, bytea, uuid, uuid, bigint, jsonb, bytea, integer, bigint); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.settle_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer, p_max_credits bigint) RETURNS TABLE(charge bigint, shortfall bigint, balance bigint, amount bigint, expires_at timestamp with time zone)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
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
    v_notify_below bigint;
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
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
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
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
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
        RETURNING l.balance, l.entry_count, l.notify_below INTO v_balance, v_entry_no, v_notify_below;
    END IF;
    IF v_balance IS NULL THEN
        PERFORM obol.refuse_hold(v_hold, p_amount);
    END IF;

    PERFORM obol.book_charge(v_hold, v_from, v_charge, p_amount - v_charge, v_entry_no, v_balance,
                             p_usage, p_answer, p_answer_ttl_s);
    IF v_balance <= v_notify_below AND v_charge > 0 THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
    RETURN QUERY SELECT v_charge, p_amount - v_charge, v_balance, v_hold.amount, v_hold.expires_at;
END
$$;

--
-- Name: show_alerts(uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_alerts(p_license_id uuid, p_token_digest bytea, p_request_id text) RETURNS TABLE(alerts jsonb, email text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY SELECT l.alerts, l.email FROM obol.licenses l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

--
-- Name: show_archived(uuid, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_archived(p_license_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(entries bigint, until timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY SELECT a.last_entry_no, a.last_entry_at FROM obol.archived a WHERE a.license_id = p_license_id;
END
$$;

--
-- Name: show_balances(uuid, date, date, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_balances(p_license_id uuid, p_from date, p_to date, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(day date, balance bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_archived bigint;
    v_archived_balance bigint;
    v_archived_at timestamptz;
    v_no bigint;
    v_at timestamptz := 'infinity';
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_end timestamptz;
    v_is_before boolean;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT l.entry_count, COALESCE(a.last_entry_no, 0), COALESCE(a.balance, 0), COALESCE(a.last_entry_at, '-infinity')
      INTO v_no, v_archived, v_archived_balance, v_archived_at
      FROM obol.licenses l
      LEFT JOIN obol.archived a ON a.license_id = l.license_id
     WHERE l.license_id = p_license_id;
    day := p_to;
    WHILE day >= p_from LOOP
        v_end := (day + 1)::timestamp AT TIME ZONE 'UTC';
        IF v_at >= v_end THEN
            -- The last entry before v_end is in [v_low, v_high]; v_archived: there is none.
            v_low := v_archived;
            v_high := v_no;
            WHILE v_low < v_high LOOP
                v_middle := v_low + (v_high - v_low + 1) / 2;
                SELECT e.created_at < v_end INTO v_is_before FROM obol.ledger_entries e
                 WHERE e.license_id = p_license_id AND e.entry_no = v_middle;
                IF v_is_before THEN
                    v_low := v_middle;
                ELSE
                    v_high := v_middle - 1;
                END IF;
            END LOOP;
            v_no := v_low;
            v_at := v_archived_at;
            balance := v_archived_balance;
            IF v_no > v_archived THEN
                SELECT e.created_at, e.balance_after INTO v_at, balance FROM obol.ledger_entries e
                 WHERE e.license_id = p_license_id AND e.entry_no = v_no;
            END IF;
        END IF;
        EXIT WHEN v_at >= v_end;
        RETURN NEXT;
        EXIT WHEN v_no = 0;
        day := day - 1;
    END LOOP;
END
$$;

--
-- Name: show_license(uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text) RETURNS TABLE(license_id uuid, name text, status text, expires_at timestamp with time zone, balance bigint, held bigint, available bigint, external_id text, created_at timestamp with time zone, limits jsonb)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    PERFORM obol.bring_up_to_date(p_license_id);
    RETURN QUERY SELECT l.license_id, l.name, l.status, l.expires_at, l.balance, l.held, l.available,
                        l.external_id, l.created_at, l.limits
                   FROM obol.license_overview l WHERE l.license_id = p_license_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_license(p_license_id);
    END IF;
END
$$;

--
-- Name: show_limits(uuid, uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_limits(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) RETURNS TABLE(limit_of text, limit_name text, limit_value bigint, used numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_digest bytea;
BEGIN
    PERFORM obol.check_reader(p_license_id, NULL, p_token_digest);
    SELECT k.key_digest INTO v_digest FROM obol.license_keys k WHERE k.license_id = p_license_id AND k.key_id = p_key_id;
    RETURN QUERY SELECT d.limit_of, d.limit_name, d.limit_value, d.used
                   FROM obol.describe_limits(p_license_id, v_digest, clock_timestamp()) d;
END
$$;

--
-- Name: show_own_limits(uuid, bytea); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_own_limits(p_license_id uuid, p_key_digest bytea) RETURNS TABLE(limit_of text, limit_name text, limit_value bigint, used numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM obol.check_license_key(p_license_id, p_key_digest);
    RETURN QUERY SELECT d.limit_of, d.limit_name, d.limit_value, d.used
                   FROM obol.describe_limits(p_license_id, p_key_digest, clock_timestamp()) d;
END
$$;

--
-- Name: show_receipt(uuid, uuid, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_receipt(p_license_id uuid, p_cause_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(cause_id uuid, kind text, entry_no bigint, charged bigint, shortfall bigint, balance_after bigint, reference text, model text, key_id uuid, price jsonb, usage jsonb, created_at timestamp with time zone, hold_amount bigint, opened_at timestamp with time zone, delivered_at timestamp with time zone, draws jsonb, refunds jsonb, refunded numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    RETURN QUERY
        SELECT e.cause_id, e.kind, e.entry_no, -e.amount, e.shortfall, e.balance_after, e.reference, e.model, e.key_id, e.price,
               e.usage, e.created_at, h.amount, h.opened_at, h.delivered_at,
               CASE WHEN e.amount = 0 THEN '[]' ELSE d.draws END, COALESCE(r.refunds, '[]'), COALESCE(r.refunded, 0)
          FROM obol.ledger_entries e
          LEFT JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
         CROSS JOIN (SELECT jsonb_agg(jsonb_build_object('grant_id', l.grant_id, 'amount', l.amount)
                                      ORDER BY l.before DESC) AS draws
                       FROM obol.list_draws(p_license_id, p_cause_id) l) d
         CROSS JOIN (SELECT jsonb_agg(jsonb_build_object(
                                'refund_id', b.part_id, 'entry_no', b.entry_no, 'amount', b.amount,
                                'reference', b.reference, 'created_at', b.created_at) ORDER BY b.entry_no) AS refunds,
                            sum(b.amount) AS refunded
                       FROM obol.ledger_entries b
                      WHERE b.license_id = p_license_id AND b.kind = 'refund' AND b.cause_id = p_cause_id) r
         WHERE e.license_id = p_license_id AND e.kind IN ('charge', 'deduction') AND e.cause_id = p_cause_id;
    IF NOT FOUND THEN
        PERFORM obol.refuse_archived(p_license_id, p_cause_id);
        RAISE EXCEPTION 'HOLD_NOT_FOUND: this license has no charge or deduction %', p_cause_id USING ERRCODE = 'OB404';
    END IF;
END
$$;

--
-- Name: show_sums(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_sums(p_license_id uuid) RETURNS TABLE(days jsonb, usage jsonb, grants jsonb, payments jsonb)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
        SELECT COALESCE((SELECT jsonb_agg(jsonb_build_array(
                             d.day, d.total, d.granted, d.charged, d.refunded, d.expired, d.voided, d.adjusted, d.shortfall))
                           FROM obol.archived_days d WHERE d.license_id = p_license_id), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(
                             u.day, u.model, u.key_id, u.calls, u.credits, u.input_tokens, u.output_tokens,
                             u.cache_write_5m_tokens, u.cache_write_1h_tokens, u.cache_read_tokens, u.refunded))
                           FROM obol.archived_usage u WHERE u.license_id = p_license_id), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(g.grant_id, g.archived_starts, g.archived_lapsed, g.archived_drawn))
                           FROM obol.grants g
                          WHERE g.license_id = p_license_id
                            AND (g.archived_starts, g.archived_lapsed, g.archived_drawn) <> (0, 0, 0)), '[]'),
               COALESCE((SELECT jsonb_agg(jsonb_build_array(o.grant_id, o.payment_id, o.archived_voided, o.archived_taken))
                           FROM obol.payment_grants o WHERE o.license_id = p_license_id), '[]');
END
$$;

--
-- Name: show_usage(uuid, date, date, boolean, boolean, boolean, bytea, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.show_usage(p_license_id uuid, p_from date, p_to date, p_by_day boolean, p_by_model boolean, p_by_key boolean, p_digest bytea, p_token_digest bytea, p_request_id text) RETURNS TABLE(day date, model text, key_id uuid, calls bigint, credits numeric, input_tokens numeric, output_tokens numeric, cache_write_5m_tokens numeric, cache_write_1h_tokens numeric, cache_read_tokens numeric, refunded numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
DECLARE
    v_after bigint;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT COALESCE(max(w.entry_no), 0) INTO v_after FROM obol.usage_watermarks w WHERE w.license_id = p_license_id;
    RETURN QUERY
        SELECT s.day, s.model, s.key_id, sum(s.calls)::bigint, sum(s.credits), sum(s.input_tokens), sum(s.output_tokens),
               sum(s.cache_write_5m_tokens), sum(s.cache_write_1h_tokens), sum(s.cache_read_tokens), sum(s.refunded)
          FROM (SELECT CASE WHEN p_by_day THEN r.day END AS day, CASE WHEN p_by_model THEN r.model END AS model,
                       CASE WHEN p_by_key THEN r.key_id END AS key_id, r.calls, r.credits, r.input_tokens, r.output_tokens,
                       r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.cache_read_tokens, r.refunded
                  FROM obol.usage_rollups r
                 WHERE r.license_id = p_license_id AND r.day BETWEEN p_from AND p_to
                UNION ALL
                SELECT CASE WHEN p_by_day THEN u.day END, CASE WHEN p_by_model THEN u.model END,
                       CASE WHEN p_by_key THEN u.key_id END, u.calls, u.credits, u.input_tokens, u.output_tokens,
                       u.cache_write_5m_tokens, u.cache_write_1h_tokens, u.cache_read_tokens, u.refunded
                  FROM obol.entry_usage u
                 WHERE u.license_id = p_license_id AND u.entry_no > v_after AND u.day BETWEEN p_from AND p_to) s
         GROUP BY s.day, s.model, s.key_id
         ORDER BY s.day, s.model NULLS FIRST, s.key_id NULLS FIRST;
END
$$;

--
-- Name: square_payment(uuid, uuid, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.square_payment(p_license_id uuid, p_payment_id uuid, p_event_id text) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_actor text := 'stripe:' || p_event_id;
    v_now timestamptz;
    v_sum record;
    v_grant record;
    v_most bigint;
    v_amount bigint;
    v_balance bigint;
    v_entry_no bigint;
BEGIN
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT s.entitled, s.kept, s.taken INTO v_sum
      FROM obol.payment_sums s WHERE s.license_id = p_license_id AND s.payment_id = p_payment_id;

    IF v_sum.kept < v_sum.entitled THEN
        v_amount := LEAST(v_sum.taken, v_sum.entitled - v_sum.kept);
        IF v_amount > 0 THEN
            -- With the lifetime that was left when it was taken.
            PERFORM obol.give_for_payment(p_license_id, p_payment_id, md5(p_payment_id || ' ' || p_event_id)::uuid, v_amount,
                                          CASE WHEN g.expires_at IS NOT NULL
                                               THEN GREATEST(g.expires_at - p.taken_at, interval '1 second') END, v_actor)
               FROM obol.payments p
               JOIN obol.grants g ON g.license_id = p.license_id AND g.grant_id = p.payment_id
              WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
        END IF;
        RETURN;
    END IF;

    v_most := v_sum.kept - v_sum.entitled;
    FOR v_grant IN SELECT o.grant_id, o.credits_left, GREATEST(0, l.held - o.before) AS covered
                     FROM obol.list_open_grants(p_license_id) o
                     JOIN obol.payment_grants p ON p.license_id = p_license_id AND p.grant_id = o.grant_id
                     JOIN obol.licenses l ON l.license_id = p_license_id
                    WHERE p.payment_id = p_payment_id AND (o.ends_at IS NULL OR o.ends_at > v_now) LOOP
        IF v_sum.entitled = 0 THEN
            UPDATE obol.grants g SET voided_at = v_now WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
            UPDATE obol.payment_grants p SET is_voided = true
             WHERE p.license_id = p_license_id AND p.grant_id = v_grant.grant_id;
            PERFORM obol.note_act(p_license_id, v_actor, 'void_grant', v_grant.grant_id::text, NULL, NULL);
            CONTINUE;
        END IF;
        v_amount := LEAST(v_most, v_grant.credits_left - v_grant.covered);
        CONTINUE WHEN v_amount <= 0;
        v_most := v_most - v_amount;
        UPDATE obol.grants g SET credits_left = g.credits_left - v_amount, lapsed = g.lapsed + v_amount
         WHERE g.license_id = p_license_id AND g.grant_id = v_grant.grant_id;
        UPDATE obol.licenses l
           SET balance = l.balance - v_amount, entry_count = l.entry_count + 1, allotted_entry_no = l.entry_count + 1
         WHERE l.license_id = p_license_id
        RETURNING l.balance, l.entry_count INTO v_balance, v_entry_no;
        PERFORM obol.book_part(p_license_id, v_entry_no, 'void', -v_amount, v_balance, v_grant.grant_id,
                               gen_random_uuid(), 'payment ' || p_payment_id);
        PERFORM obol.note_act(p_license_id, v_actor, 'take_back', v_grant.grant_id::text,
                              jsonb_build_object('amount', v_amount, 'payment_id', p_payment_id), NULL);
    END LOOP;
    IF v_sum.kept > v_sum.entitled THEN
        UPDATE obol.payments p SET taken_at = v_now WHERE p.license_id = p_license_id AND p.payment_id = p_payment_id;
    END IF;
    -- Takes what was voided.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    -- Of that it tells itself, and not of the parts that were taken here.
    SELECT l.balance INTO v_balance
      FROM obol.licenses l WHERE l.license_id = p_license_id AND l.balance <= l.notify_below;
    IF FOUND THEN
        PERFORM obol.note_balance(p_license_id, v_balance);
    END IF;
END
$$;

--
-- Name: sum_expiring(timestamp with time zone, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.sum_expiring(p_before timestamp with time zone, p_token_digest bytea, p_request_id text) RETURNS TABLE(credits numeric, licenses bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    RETURN QUERY
        SELECT COALESCE(sum(o.ending), 0), count(DISTINCT o.license_id)
          FROM (SELECT b.license_id, b.credits_left - LEAST(b.credits_left, GREATEST(0, b.used - b.before)) AS ending
                  FROM (SELECT g.license_id, g.credits_left, g.expires_at, g.voided_at,
                               sum(g.credits_left) OVER burn - g.credits_left AS before,
                               sum(g.credits_left) OVER (PARTITION BY g.license_id) - l.balance AS used
                          FROM obol.grants g
                          JOIN obol.licenses l ON l.license_id = g.license_id
                         WHERE g.has_started AND g.credits_left > 0
                           AND g.license_id IN (
                               SELECT e.license_id FROM obol.grants e
                                WHERE e.credits_left > 0 AND e.voided_at IS NULL
                                  AND e.expires_at > v_now AND e.expires_at < p_before)
                        WINDOW burn AS (PARTITION BY g.license_id ORDER BY g.priority,
                                        COALESCE(g.expires_at, 'infinity'), g.created_at, g.grant_id)) b
                 WHERE b.voided_at IS NULL AND b.expires_at > v_now AND b.expires_at < p_before) o
         WHERE o.ending > 0;
END
$$;

--
-- Name: sum_refunds(jsonb, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.sum_refunds(p_told jsonb, p_failed jsonb) RETURNS bigint
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN (SELECT GREATEST(0, max((t.value ->> 'amount')::bigint - COALESCE(f.amount, 0)))
              FROM jsonb_each(p_told) t
             CROSS JOIN LATERAL (
                SELECT sum((r.value ->> 'amount')::bigint)::bigint AS amount
                  FROM jsonb_each(p_failed) r
                 -- It may fail in the second in which it is begun and told.
                 WHERE (r.value ->> 'begun_at')::bigint = (t.value ->> 'at')::bigint
                    OR ((r.value ->> 'begun_at')::bigint < (t.value ->> 'at')::bigint
                        AND (r.value ->> 'failed_at')::bigint > (t.value ->> 'at')::bigint)) f);
END
$$;

--
-- Name: take_back_owed(uuid, uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.take_back_owed(p_license_id uuid, p_payment_id uuid) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz;
    v_event_id text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    v_now := clock_timestamp();
    SELECT e.event_id INTO v_event_id
      FROM obol.stripe_events e
      JOIN obol.payment_sums s ON s.license_id = e.license_id AND s.payment_id = e.payment_id
     WHERE e.license_id = p_license_id AND e.payment_id = p_payment_id AND s.owed > 0
     ORDER BY e.booked_at DESC, e.event_id LIMIT 1;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Its grants as they are once what was used is allotted.
    PERFORM FROM (SELECT o.grant_id, o.ends_at, o.credits_left - o.used AS left,
                         o.before + o.used - sum(o.used) OVER (ORDER BY o.before) AS before
                    FROM obol.list_open_grants(p_license_id) o) o
       JOIN obol.payment_grants g ON g.license_id = p_license_id AND g.grant_id = o.grant_id
       JOIN obol.licenses l ON l.license_id = p_license_id
      WHERE g.payment_id = p_payment_id AND (o.ends_at IS NULL OR o.ends_at > v_now)
        AND o.left > GREATEST(0, l.held - o.before);
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    PERFORM obol.square_payment(p_license_id, p_payment_id, v_event_id);
    RETURN true;
END
$$;

--
-- Name: tell_expiring(uuid); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.tell_expiring(p_license_id uuid) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_now timestamptz;
    v_grant record;
    v_count integer := 0;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    -- Only then is credits_left what is left.
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    FOR v_grant IN
        UPDATE obol.grants g
           SET expiry_told_at = v_now
         WHERE g.license_id = p_license_id
           AND g.credits_left > 0 AND g.expires_at IS NOT NULL AND g.voided_at IS NULL AND g.expiry_told_at IS NULL
           AND g.expires_at > v_now AND g.expires_at <= v_now + interval '7 days'
           AND g.starts_at + (g.expires_at - g.starts_at) * 0.75 <= v_now
        RETURNING g.grant_id, g.amount, g.credits_left, g.expires_at, g.reason, g.reference
    LOOP
        PERFORM obol.write_event(p_license_id, 'grant.expiring', v_grant.grant_id, jsonb_build_object(
            'grant_id', v_grant.grant_id, 'amount', v_grant.amount, 'left', v_grant.credits_left,
            'expires_at', obol.utc(v_grant.expires_at), 'reason', v_grant.reason, 'reference', v_grant.reference));
        v_count := v_count + 1;
    END LOOP;
    RETURN v_count;
END
$$;

--
-- Name: tell_undelivered(uuid, uuid[]); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.tell_undelivered(p_license_id uuid, p_hold_ids uuid[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    v_charge record;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    FOR v_charge IN
        SELECT u.hold_id, u.charge, u.model, u.settled_at FROM obol.undelivered_holds u
         WHERE u.license_id = p_license_id AND u.hold_id = ANY (p_hold_ids)
         ORDER BY u.settled_at, u.hold_id
    LOOP
        PERFORM obol.write_event(p_license_id, 'answer.undelivered', v_charge.hold_id, jsonb_build_object(
            'hold_id', v_charge.hold_id, 'charge', v_charge.charge, 'model', v_charge.model,
            'settled_at', obol.utc(v_charge.settled_at)));
    END LOOP;
END
$$;

--
-- Name: tell_upstream_refusal(integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.tell_upstream_refusal(p_status integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_now timestamptz := clock_timestamp();
BEGIN
    PERFORM FROM obol.events e
      WHERE e.license_id = c_nobody AND e.type = 'upstream.refuses_us' AND e.created_at > v_now - interval '1 hour';
    IF FOUND THEN
        RETURN false;
    END IF;
    -- Two processes that find this out at once take the same number: one asks again, and sees the other's.
    PERFORM obol.write_event(c_nobody, 'upstream.refuses_us', NULL, jsonb_build_object('status', p_status));
    RETURN true;
END
$$;

--
-- Name: use_key(uuid, bytea, boolean, jsonb, text, bigint, bigint, integer); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.use_key(p_license_id uuid, p_key_digest bytea, p_is_of_key boolean, p_limits jsonb, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer) RETURNS TABLE(key_id uuid, amount bigint, limited_by uuid[], used_at timestamp with time zone)
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_now timestamptz := clock_timestamp();
    v_key_id uuid;
    v_is_limited boolean;
    v_last_used_at timestamptz;
BEGIN
    SELECT CASE WHEN p_is_of_key THEN k.key_id END, k.is_limited, k.last_used_at
      INTO v_key_id, v_is_limited, v_last_used_at
      FROM obol.license_key_validity k
     WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest AND k.valid_until > v_now;
    IF NOT FOUND THEN
        PERFORM obol.check_license_key(p_license_id, p_key_digest);
        PERFORM obol.ask_again('the key changed');
    END IF;
    IF p_is_of_key AND (v_last_used_at > v_now - interval '1 hour') IS NOT TRUE THEN
        UPDATE obol.license_keys k
           SET last_used_at = v_now
         WHERE k.license_id = p_license_id AND k.key_digest = p_key_digest;
    END IF;
    IF p_limits IS NOT NULL OR (v_is_limited AND p_is_of_key) THEN
        RETURN QUERY SELECT v_key_id, c.amount, c.limited_by, v_now
                       FROM obol.count_use(p_license_id, CASE WHEN p_is_of_key THEN p_key_digest END, p_model, p_amount,
                                           p_min_amount, p_holds, v_now) c;
    ELSE
        RETURN QUERY SELECT v_key_id, p_amount, NULL::uuid[], v_now;
    END IF;
END
$$;

--
-- Name: utc(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.utc(p_moment timestamp with time zone) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT to_char(p_moment AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
$$;

--
-- Name: verify(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
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
    UNION ALL
    SELECT n.license_id, n.rule, n.detail FROM obol.verify_events() n
    UNION ALL
    SELECT p.license_id, p.rule, p.detail FROM obol.verify_payments() p
    UNION ALL
    SELECT b.license_id, b.rule, b.detail FROM obol.verify_business() b
    UNION ALL
    SELECT o.license_id, o.rule, o.detail FROM obol.verify_archived() o
$$;

--
-- Name: verify_acts(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_acts() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT e.license_id, 'what an operator did to a balance has its act',
           format('entry %s is a %s of %s credits, and no act says so', e.entry_no, e.kind, e.amount)
      FROM obol.ledger_entries e
      LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
     WHERE e.kind IN ('grant', 'adjustment', 'void')
       AND e.entry_no > COALESCE(s.entry_no, 0)
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.license_id = e.license_id AND a.target_id = e.cause_id
                          AND CASE e.kind WHEN 'grant' THEN a.act = 'grant_credits' AND a.amount = e.amount
                                          -- A part of it alone is taken for money that went back.
                                          WHEN 'void' THEN a.act = 'void_grant' OR (a.act = 'take_back' AND a.amount = -e.amount)
                                          ELSE a.act = 'adjust_credits' AND a.amount = e.amount END)
    UNION ALL
    SELECT g.license_id, 'a grant to come has its act',
           format('grant %s is of %s credits from %s on, and no act says so', g.grant_id, g.amount, g.starts_at)
      FROM obol.grants g
     WHERE NOT g.has_started
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.license_id = g.license_id AND a.target_id = g.grant_id
                          AND a.act = 'grant_credits' AND a.amount = g.amount)
    UNION ALL
    SELECT r.license_id, 'a refund has its act',
           format('%s refunds of %s credits for %s, and %s acts', r.refunds, r.amount, r.cause_id, COALESCE(a.acts, 0))
      FROM (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
              FROM obol.ledger_entries e
              LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
              LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
             WHERE e.kind = 'refund' AND e.entry_no > COALESCE(s.entry_no, 0)
               AND NOT (h.process_id IS NOT NULL AND e.reference IS NOT DISTINCT FROM 'answer withheld')
             GROUP BY e.license_id, e.cause_id, e.amount) r
      LEFT JOIN (SELECT a.license_id, a.target_id, a.amount, count(*) AS acts
                   FROM obol.named_acts a WHERE a.act = 'refund' GROUP BY a.license_id, a.target_id, a.amount) a
             ON a.license_id = r.license_id AND a.target_id = r.cause_id AND a.amount = r.amount
     WHERE r.refunds > COALESCE(a.acts, 0)
    UNION ALL
    SELECT a.license_id, 'an act of a refund has its entry',
           format('%s acts of refunds of %s credits for %s, and %s entries', a.acts, a.amount, a.target, COALESCE(r.refunds, 0))
      FROM (SELECT a.license_id, a.target, a.target_id, a.amount, count(*) AS acts
              FROM obol.named_acts a
              LEFT JOIN obol.archived k ON k.license_id = a.license_id
             WHERE a.act = 'refund' AND (a.acted_at <= k.acts_until) IS NOT TRUE
             GROUP BY a.license_id, a.target, a.target_id, a.amount) a
      LEFT JOIN (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
                   FROM obol.ledger_entries e WHERE e.kind = 'refund' GROUP BY e.license_id, e.cause_id, e.amount) r
             ON r.license_id = a.license_id AND r.cause_id = a.target_id AND r.amount = a.amount
     WHERE a.acts > COALESCE(r.refunds, 0)
    UNION ALL
    SELECT a.license_id, 'an act names what it did',
           format('act %s is %s of %s', a.act_no, a.act, concat_ws(' credits to ', a.amount, COALESCE(a.target, 'the license')))
      FROM obol.named_acts a
      LEFT JOIN obol.licenses l ON l.license_id = a.license_id
      LEFT JOIN obol.grants g
             ON a.act IN ('grant_credits', 'void_grant') AND g.license_id = a.license_id AND g.grant_id = a.target_id
      LEFT JOIN obol.ledger_entries e
             ON a.act IN ('adjust_credits', 'deduct') AND e.license_id = a.license_id AND e.cause_id = a.target_id
            AND e.kind = CASE a.act WHEN 'deduct' THEN 'deduction' ELSE 'adjustment' END
      LEFT JOIN obol.license_keys k
             ON a.act IN ('create_key', 'set_key', 'revoke_key', 'rotate_license_key')
            AND k.license_id = a.license_id AND k.key_id = a.target_id
      LEFT JOIN obol.archived o ON o.license_id = a.license_id AND a.acted_at <= o.acts_until
     WHERE CASE a.act WHEN 'grant_credits' THEN (g.amount = a.amount) IS NOT TRUE
                      WHEN 'void_grant' THEN g.voided_at IS NULL
                      WHEN 'adjust_credits' THEN (e.amount = a.amount) IS NOT TRUE AND (e.amount IS NOT NULL OR o.license_id IS NULL)
                      WHEN 'deduct' THEN (-e.amount = a.amount) IS NOT TRUE AND (e.amount IS NOT NULL OR o.license_id IS NULL)
                      WHEN 'revoke_key' THEN k.revoked_at IS NULL
                      WHEN 'create_key' THEN k.key_id IS NULL
                      WHEN 'set_key' THEN k.key_id IS NULL
                      WHEN 'rotate_license_key' THEN k.key_id IS NULL AND a.target IS NOT NULL
                      WHEN 'create_license' THEN l.license_id IS NULL
                      WHEN 'import_license' THEN l.license_id IS NULL
                      WHEN 'set_license' THEN l.license_id IS NULL
                      ELSE false END
    UNION ALL
    SELECT t.license_id, 'a token is as its acts say',
           format('token %s, %s: no act made it so', t.token_id, t.name)
      FROM (SELECT NULL::uuid AS license_id, n.* FROM obol.admin_tokens n) t
     WHERE NOT EXISTS (SELECT FROM obol.admin_acts a
                        WHERE a.detail ->> 'token_id' = t.token_id::text
                          AND CASE WHEN t.is_first THEN a.act = 'register_first_token'
                                   ELSE a.act = 'create_token' AND a.detail -> 'scopes' = to_jsonb(t.scopes) END)
        OR (t.revoked_at IS NULL
            AND EXISTS (SELECT FROM obol.admin_acts a
                         WHERE a.act = 'revoke_token' AND a.detail ->> 'token_id' = t.token_id::text))
$$;

--
-- Name: verify_archived(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_archived() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT a.license_id, 'what is archived was allotted and rolled up',
           format('archived up to entry %s, allotted up to %s, rolled up to %s', a.last_entry_no, l.allotted_entry_no,
                  COALESCE(w.entry_no, 0))
      FROM obol.archived a
      JOIN obol.licenses l ON l.license_id = a.license_id
      LEFT JOIN obol.usage_watermarks w ON w.license_id = a.license_id
     WHERE a.last_entry_no > l.allotted_entry_no OR a.last_entry_no > COALESCE(w.entry_no, 0)
    UNION ALL
    SELECT COALESCE(d.license_id, a.license_id), 'archived days add up to the archived balance',
           format('%s, and the balance after entry %s was %s', COALESCE(d.total, 0), COALESCE(a.last_entry_no, 0), COALESCE(a.balance, 0))
      FROM (SELECT s.license_id, sum(s.total) AS total, sum(s.granted - s.charged + s.refunded - s.expired - s.voided + s.adjusted) AS parts
              FROM obol.archived_days s GROUP BY s.license_id) d
      FULL JOIN obol.archived a ON a.license_id = d.license_id
     WHERE (d.total = a.balance AND d.parts = d.total) IS NOT TRUE
    UNION ALL
    SELECT COALESCE(a.license_id, f.license_id), 'what is archived is in files, one after the other',
           format('archived up to entry %s, %s files have %s entries up to %s', COALESCE(a.last_entry_no, 0), COALESCE(f.files, 0),
                  COALESCE(f.entries, 0), COALESCE(f.last_entry_no, 0))
      FROM obol.archived a
      FULL JOIN (SELECT s.license_id, count(*) AS files, sum(s.last_entry_no - s.first_entry_no + 1) AS entries,
                        max(s.last_entry_no) AS last_entry_no
                   FROM obol.archived_files s GROUP BY s.license_id) f ON f.license_id = a.license_id
     WHERE (a.last_entry_no = f.entries AND a.last_entry_no = f.last_entry_no) IS NOT TRUE
    UNION ALL
    SELECT f.license_id, 'what is archived has its act',
           format('entries %s to %s are in a file, and no act says so', f.first_entry_no, f.last_entry_no)
      FROM obol.archived_files f
     WHERE NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.act = 'archive' AND a.license_id = f.license_id
                          AND a.detail ->> 'sha256' = encode(f.file_digest, 'hex')
                          AND a.detail -> 'first_entry_no' = to_jsonb(f.first_entry_no)
                          AND a.detail -> 'last_entry_no' = to_jsonb(f.last_entry_no))
    UNION ALL
    SELECT o.license_id, 'archived voids of a payment are of what archived entries took of its grant',
           format('grant %s: %s lapsed, %s voided, %s of it in parts', o.grant_id, g.archived_lapsed, o.archived_voided,
                  o.archived_taken)
      FROM obol.payment_grants o
      JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE o.archived_taken < 0 OR o.archived_taken > o.archived_voided OR o.archived_voided > g.archived_lapsed
    UNION ALL
    SELECT c.license_id, 'archived usage is what the archived days say',
           format('on %s %s credits and %s refunded too many', c.day, sum(c.credits), sum(c.refunded))
      FROM (SELECT u.license_id, u.day, u.credits, u.refunded FROM obol.archived_usage u
            UNION ALL
            SELECT d.license_id, d.day, -d.charged, -d.refunded FROM obol.archived_days d) c
     GROUP BY c.license_id, c.day
    HAVING sum(c.credits) <> 0 OR sum(c.refunded) <> 0
$$;

--
-- Name: verify_business(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_business() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    WITH counted AS NOT MATERIALIZED (
        SELECT COALESCE(min(r.begins_at) FILTER (WHERE NOT r.is_final), max(r.begins_at) + interval '10 minutes') AS counted_to
          FROM obol.business_rollups r
    )
    SELECT NULL::uuid, 'the business by time is what its entries say',
           format('from %s on: %s credits of changes and %s of charges too many, or others of its figures differ',
                  min(d.begins_at), sum(d.total), sum(d.charged))
      FROM (SELECT r.begins_at, r.total, r.granted, r.charged, r.refunded, r.expired, r.voided, r.adjusted, r.shortfall
              FROM obol.business_rollups r
             WHERE r.begins_at < (SELECT c.counted_to FROM counted c)
            UNION ALL
            SELECT e.begins_at, -sum(e.total), -sum(e.granted), -sum(e.charged), -sum(e.refunded), -sum(e.expired),
                   -sum(e.voided), -sum(e.adjusted), -sum(e.shortfall)
              FROM obol.entry_business e
             WHERE e.begins_at < (SELECT c.counted_to FROM counted c)
             GROUP BY e.begins_at
            UNION ALL
            SELECT a.day::timestamp AT TIME ZONE 'UTC', -sum(a.total), -sum(a.granted), -sum(a.charged), -sum(a.refunded),
                   -sum(a.expired), -sum(a.voided), -sum(a.adjusted), -sum(a.shortfall)
              FROM obol.archived_days a
             GROUP BY a.day) d
      LEFT JOIN (SELECT DISTINCT a.day FROM obol.archived_days a) o ON o.day = (d.begins_at AT TIME ZONE 'UTC')::date
     GROUP BY COALESCE(o.day::timestamp AT TIME ZONE 'UTC', d.begins_at)
    HAVING sum(d.total) <> 0 OR sum(d.granted) <> 0 OR sum(d.charged) <> 0 OR sum(d.refunded) <> 0
        OR sum(d.expired) <> 0 OR sum(d.voided) <> 0 OR sum(d.adjusted) <> 0 OR sum(d.shortfall) <> 0
$$;

--
-- Name: verify_events(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_events() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT d.license_id, 'what waits has its turn', format('event %s waits for the webhook %s, and is in no queue', d.event_no, d.webhook_id)
      FROM obol.deliveries d
      JOIN obol.webhooks w ON w.webhook_id = d.webhook_id AND w.deleted_at IS NULL
      LEFT JOIN obol.delivery_queues q ON q.license_id = d.license_id AND q.webhook_id = d.webhook_id
     WHERE d.state = 'waiting' AND q.next_attempt_at IS NULL
    UNION ALL
    SELECT l.license_id, 'a low balance is told', format('the balance is %s, and the threshold of %s was not told', l.balance, l.notify_below)
      FROM obol.licenses l
     WHERE l.notify_below > 0 AND l.balance <= l.notify_below;
END
$$;

--
-- Name: verify_grants(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_grants() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT l.license_id, 'the balance is what the grants have left, less what was used since',
           format('balance %s, grants have %s left, %s was used since entry %s', l.balance, g.credits_left, u.used,
                  l.allotted_entry_no)
      FROM obol.licenses l
     CROSS JOIN LATERAL (SELECT COALESCE(sum(g.credits_left), 0) AS credits_left FROM obol.grants g
                          WHERE g.license_id = l.license_id AND g.has_started) g
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS used FROM obol.ledger_entries e
                          WHERE e.license_id = l.license_id AND e.entry_no > l.allotted_entry_no) u
     WHERE l.balance <> g.credits_left - u.used
    UNION ALL
    SELECT e.license_id, 'what changes the set of grants is allotted at once',
           format('entry %s is a %s, and entries are allotted up to %s', e.entry_no, e.kind, l.allotted_entry_no)
      FROM obol.ledger_entries e JOIN obol.licenses l USING (license_id)
     WHERE e.entry_no > l.allotted_entry_no AND (e.amount > 0 OR e.kind NOT IN ('charge', 'deduction', 'adjustment'))
    UNION ALL
    SELECT g.license_id, 'a grant is what is left, what lapsed and what was drawn',
           format('grant %s of %s: %s left, %s lapsed, %s drawn', g.grant_id, g.amount, g.credits_left, g.lapsed,
                  COALESCE(a.drawn, 0) + g.archived_drawn)
      FROM obol.grants g
      LEFT JOIN (SELECT a.license_id, a.grant_id, sum(a.balance_from - a.balance_to) AS drawn
                   FROM obol.allotments a GROUP BY a.license_id, a.grant_id) a USING (license_id, grant_id)
     WHERE g.amount <> g.credits_left + g.lapsed + COALESCE(a.drawn, 0) + g.archived_drawn
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, COALESCE(e.taken, 0) + g.archived_lapsed)
      FROM obol.grants g
      LEFT JOIN (SELECT e.license_id, e.cause_id, -sum(e.amount) AS taken
                   FROM obol.ledger_entries e WHERE e.kind IN ('expiry', 'void') GROUP BY e.license_id, e.cause_id) e
             ON e.license_id = g.license_id AND e.cause_id = g.grant_id
     WHERE COALESCE(e.taken, 0) + g.archived_lapsed <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
    UNION ALL
    SELECT g.license_id, 'a grant that has started has its entry, and no other has one',
           format('grant %s of %s: %s entries', g.grant_id, g.amount, e.entries + g.archived_starts)
      FROM obol.grants g
     CROSS JOIN LATERAL (SELECT count(*) AS entries FROM obol.ledger_entries e
                          WHERE e.license_id = g.license_id
                            AND ((e.kind IN ('grant', 'adjustment') AND e.cause_id = g.grant_id AND e.amount = g.amount)
                                 OR (g.reason = 'refund' AND e.kind = 'refund' AND e.part_id = g.grant_id))) e
     WHERE e.entries + g.archived_starts <> g.has_started::integer
    UNION ALL
    SELECT e.license_id, 'an entry that gives or takes credits of a grant names one',
           format('entry %s is a %s of %s', e.entry_no, e.kind, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE (e.kind IN ('grant', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0)) AND g.grant_id IS NULL
    UNION ALL
    SELECT a.license_id, 'what was used in a span of entries is allotted, and no more',
           format('entries %s to %s: %s allotted', a.first_entry_no, a.last_entry_no, a.drawn)
      FROM (SELECT a.license_id, a.first_entry_no, a.last_entry_no, sum(a.balance_from - a.balance_to) AS drawn
              FROM obol.allotments a WHERE a.first_entry_no > 0
             GROUP BY a.license_id, a.first_entry_no, a.last_entry_no) a
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS used FROM obol.ledger_entries e
                          WHERE e.license_id = a.license_id
                            AND e.entry_no BETWEEN a.first_entry_no AND a.last_entry_no) e
      LEFT JOIN obol.ledger_entries r
             ON r.license_id = a.license_id AND r.entry_no = a.last_entry_no AND r.kind = 'refund'
     WHERE a.drawn <> e.used
       -- Of a refund, what came from before grants had lifetimes is a grant of its own.
       AND NOT (r.part_id IS NOT NULL AND EXISTS (SELECT FROM obol.grants g
                                                   WHERE g.license_id = r.license_id AND g.grant_id = r.part_id
                                                     AND a.drawn - e.used = g.amount))
    UNION ALL
    SELECT l.license_id, 'the next change of the grants is not missed',
           format('next change at %s, a grant changes at %s', l.next_change_at, g.next_change_at)
      FROM obol.licenses l
     CROSS JOIN LATERAL (SELECT min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at)
                                         ELSE g.starts_at END) AS next_change_at
                           FROM obol.grants g WHERE g.license_id = l.license_id AND g.credits_left > 0) g
     WHERE l.next_change_at > g.next_change_at
$$;

--
-- Name: verify_holds(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_holds() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has %s', h.hold_id, h.state, count(e.entry_no))
      FROM obol.holds h
      LEFT JOIN obol.ledger_entries e
             ON e.license_id = h.license_id AND e.cause_id = h.hold_id AND e.kind = 'charge'
     GROUP BY h.license_id, h.hold_id, h.state
    HAVING count(e.entry_no) <> (h.state = 'settled')::integer
    UNION ALL
    SELECT h.license_id, 'a delivered answer is paid for',
           format('hold %s is %s and was delivered at %s', h.hold_id, h.state, h.delivered_at)
      FROM obol.holds h WHERE h.delivered_at IS NOT NULL AND h.state <> 'settled'
    UNION ALL
    -- Any living process gives back what is due within a minute. A day is for a service that was stopped.
    SELECT h.license_id, 'an open hold is of a process or a client, and not long overdue',
           format('hold %s of process %s was due at %s', h.hold_id, COALESCE(h.process_id::text, 'none'),
                  COALESCE(h.expires_at, p.lease_expires_at))
      FROM obol.holds h
      LEFT JOIN obol.processes p ON p.process_id = h.process_id
     WHERE h.state = 'held'
       -- Null for a process that is not there: purge_expired keeps the lease of every open hold.
       AND (COALESCE(h.expires_at, p.lease_expires_at) < now() - interval '1 day') IS NOT FALSE
$$;

--
-- Name: verify_idempotency(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_idempotency() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
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
       AND NOT EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = i.license_id AND k.key_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = i.license_id AND r.kind = 'refund' AND r.part_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.payments p
                        WHERE p.license_id = i.license_id AND p.payment_id = i.cause_id)
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

--
-- Name: verify_imported_keys(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_imported_keys() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT i.license_id, 'an imported key is a key of its license',
           format('its license has no key of the digest that was imported at %s', i.imported_at)
      FROM obol.imported_keys i
     WHERE NOT EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = i.license_id AND k.key_digest = i.key_digest)
    UNION ALL
    SELECT k.license_id, 'an imported key is a key of no other license',
           format('key %s is the imported key of license %s', k.key_id, i.license_id)
      FROM obol.license_keys k
      JOIN obol.imported_keys i ON i.key_digest = k.key_digest
     WHERE i.license_id <> k.license_id
$$;

--
-- Name: verify_ledger(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_ledger() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    WITH chain AS NOT MATERIALIZED (
        SELECT e.*,
               COALESCE(lag(e.entry_no) OVER w, a.last_entry_no, 0) AS entry_no_before,
               COALESCE(lag(e.balance_after) OVER w, a.balance, 0) AS balance_before
          FROM obol.ledger_entries e
          LEFT JOIN obol.archived a ON a.license_id = e.license_id
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
    SELECT e.license_id, 'a charge names its hold and carries its key and price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR h.key_id IS DISTINCT FROM e.key_id
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

--
-- Name: verify_licenses(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_licenses() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    WITH entry_sums AS NOT MATERIALIZED (
        SELECT s.license_id, sum(s.total) AS total, sum(s.entries) AS entries, max(s.last_no) AS last_no
          FROM (SELECT e.license_id, sum(e.amount) AS total, count(*) AS entries, max(e.entry_no) AS last_no
                  FROM obol.ledger_entries e GROUP BY e.license_id
                UNION ALL
                SELECT a.license_id, a.balance, a.last_entry_no, a.last_entry_no FROM obol.archived a) s
         GROUP BY s.license_id
    ), hold_sums AS NOT MATERIALIZED (
        SELECT h.license_id, sum(h.amount) AS total
          FROM obol.holds h WHERE h.state = 'held' GROUP BY h.license_id
    )
    SELECT l.license_id, 'balance is the sum of the entries',
           format('balance %s, entries sum to %s', l.balance, COALESCE(s.total, 0))
      FROM obol.licenses l LEFT JOIN entry_sums s USING (license_id)
     WHERE l.balance <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, 'held is the sum of the open holds',
           format('held %s, open holds sum to %s', l.held, COALESCE(s.total, 0))
      FROM obol.licenses l LEFT JOIN hold_sums s USING (license_id)
     WHERE l.held <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, '0 <= held <= balance', format('held %s, balance %s', l.held, l.balance)
      FROM obol.licenses l WHERE NOT (0 <= l.held AND l.held <= l.balance)
    UNION ALL
    SELECT l.license_id, 'the entry counter is the last entry number',
           format('counter %s, %s entries, the last is %s', l.entry_count, COALESCE(s.entries, 0), COALESCE(s.last_no, 0))
      FROM obol.licenses l LEFT JOIN entry_sums s USING (license_id)
     WHERE l.entry_count <> COALESCE(s.last_no, 0) OR l.entry_count <> COALESCE(s.entries, 0)
$$;

--
-- Name: verify_limits(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_limits() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT s.license_id, 'the open holds of a limit are those that count in it',
           format('%s of %s, and %s holds are open', s.open_holds, s.subject_id, h.holds)
      FROM obol.limit_states s
     CROSS JOIN LATERAL (SELECT count(*) AS holds FROM obol.holds h
                          WHERE h.license_id = s.license_id AND h.state = 'held'
                            AND h.limited_by @> ARRAY[s.subject_id]) h
     WHERE s.open_holds <> h.holds
    UNION ALL
    SELECT s.license_id, 'the credits of a limit are what its holds and deductions took',
           format('%s credits of %s from %s on; its holds took %s, deductions %s', w.credits, s.subject_id, w.starts,
                  h.credits, d.credits)
      FROM obol.limit_states s
     CROSS JOIN LATERAL (VALUES (s.day, s.day + 1, s.day_credits),
                                (s.month, (s.month + interval '1 month')::date, s.month_credits)) AS w (starts, ends, credits)
     CROSS JOIN LATERAL (SELECT COALESCE(sum(CASE h.state WHEN 'held' THEN h.amount WHEN 'settled' THEN -e.amount END), 0) AS credits
                           FROM obol.holds h
                           LEFT JOIN obol.ledger_entries e
                                  ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
                          WHERE h.license_id = s.license_id AND h.limited_by @> ARRAY[s.subject_id]
                            AND h.opened_at >= w.starts::timestamp AT TIME ZONE 'UTC'
                            AND h.opened_at < w.ends::timestamp AT TIME ZONE 'UTC') h
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS credits
                           FROM obol.ledger_entries e
                          WHERE e.license_id = s.license_id AND e.kind = 'deduction'
                            AND s.subject_id IN (e.key_id, e.license_id)
                            AND e.created_at >= w.starts::timestamp AT TIME ZONE 'UTC'
                            AND e.created_at < w.ends::timestamp AT TIME ZONE 'UTC' + interval '1 minute') d
     WHERE NOT w.credits BETWEEN h.credits AND h.credits + d.credits
       AND NOT EXISTS (SELECT FROM obol.archived a
                        WHERE a.license_id = s.license_id AND a.last_entry_at >= w.starts::timestamp AT TIME ZONE 'UTC')
$$;

--
-- Name: verify_payments(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_payments() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT p.license_id, 'a payment has its grant once it is paid, and not before',
           format('payment %s of %s credits is %s, and its grant is of %s', p.payment_id, p.credits, p.state,
                  COALESCE(g.amount, 0))
      FROM obol.payments p
      LEFT JOIN obol.payment_grants o
             ON o.license_id = p.license_id AND o.payment_id = p.payment_id AND o.grant_id = p.payment_id
      LEFT JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE COALESCE(g.amount, 0) <> CASE p.state WHEN 'paid' THEN p.credits ELSE 0 END
    UNION ALL
    SELECT p.license_id, 'a paid payment has the event that says so', format('payment %s was paid at %s', p.payment_id, p.paid_at)
      FROM obol.payments p
     WHERE p.state = 'paid'
       AND NOT EXISTS (SELECT FROM obol.stripe_events e
                        WHERE e.license_id = p.license_id AND e.payment_id = p.payment_id
                          AND e.event_type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded'))
    UNION ALL
    SELECT p.license_id, 'what is given again for a payment was taken before',
           format('payment %s: %s more credits were given again than were taken', p.payment_id, -s.taken)
      FROM obol.payments p
      JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
     WHERE p.state = 'paid' AND s.taken < 0
    UNION ALL
    SELECT p.license_id, 'what is refunded of a payment is what Stripe has told of it',
           format('payment %s: %s is refunded, and %s was told', p.payment_id, p.refunded,
                  obol.sum_refunds(p.refunds_told, p.refunds_failed))
      FROM obol.payments p
     WHERE p.refunded <> obol.sum_refunds(p.refunds_told, p.refunds_failed)
$$;

--
-- Name: verify_recent_acts(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_recent_acts(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_acts_since timestamptz := p_since - interval '1 hour';
BEGIN
    RETURN QUERY
    SELECT e.license_id, 'what an operator did to a balance has its act',
           format('entry %s is a %s of %s credits, and no act says so', e.entry_no, e.kind, e.amount)
      FROM obol.ledger_entries e
      LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind IN ('grant', 'adjustment', 'void')
       AND e.entry_no > COALESCE(s.entry_no, 0)
       -- What was announced before, or is held and was voided before, has its act there.
       AND (e.kind = 'adjustment' OR CASE e.kind WHEN 'void' THEN g.voided_at ELSE g.created_at END >= p_since)
       AND NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.acted_at >= v_acts_since
                          AND a.license_id = e.license_id AND a.target_id = e.cause_id
                          AND a.act = CASE e.kind WHEN 'grant' THEN 'grant_credits' WHEN 'void' THEN 'void_grant'
                                                  ELSE 'adjust_credits' END
                          AND (e.kind = 'void' OR a.amount = e.amount))
    UNION ALL
    SELECT r.license_id, 'a refund has its act',
           format('%s refunds of %s credits for %s, and %s acts', r.refunds, r.amount, r.cause_id, COALESCE(a.acts, 0))
      FROM (SELECT e.license_id, e.cause_id, e.amount, count(*) AS refunds
              FROM obol.ledger_entries e
              LEFT JOIN obol.audit_starts s ON s.license_id = e.license_id
              LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
             WHERE e.created_at >= p_since AND e.kind = 'refund' AND e.entry_no > COALESCE(s.entry_no, 0)
               AND NOT (h.process_id IS NOT NULL AND e.reference IS NOT DISTINCT FROM 'answer withheld')
             GROUP BY e.license_id, e.cause_id, e.amount) r
      LEFT JOIN (SELECT a.license_id, a.target_id, a.amount, count(*) AS acts
                   FROM obol.named_acts a WHERE a.acted_at >= v_acts_since AND a.act = 'refund'
                  GROUP BY a.license_id, a.target_id, a.amount) a
             ON a.license_id = r.license_id AND a.target_id = r.cause_id AND a.amount = r.amount
     WHERE r.refunds > COALESCE(a.acts, 0)
    UNION ALL
    SELECT a.license_id, 'an act names what it did',
           format('act %s is %s of %s', a.act_no, a.act, concat_ws(' credits to ', a.amount, COALESCE(a.target, 'the license')))
      FROM obol.named_acts a
     WHERE a.acted_at >= p_since
       AND CASE WHEN a.act = 'grant_credits' THEN
                     NOT EXISTS (SELECT FROM obol.grants g
                                  WHERE g.license_id = a.license_id AND g.grant_id = a.target_id AND g.amount = a.amount)
                WHEN a.act = 'void_grant' THEN
                     NOT EXISTS (SELECT FROM obol.grants g
                                  WHERE g.license_id = a.license_id AND g.grant_id = a.target_id AND g.voided_at IS NOT NULL)
                WHEN a.act IN ('adjust_credits', 'deduct', 'refund') THEN
                     NOT EXISTS (SELECT FROM obol.ledger_entries e
                                  WHERE e.license_id = a.license_id AND e.cause_id = a.target_id
                                    AND e.kind = CASE a.act WHEN 'deduct' THEN 'deduction' WHEN 'refund' THEN 'refund'
                                                            ELSE 'adjustment' END
                                    AND e.amount = CASE a.act WHEN 'deduct' THEN -a.amount ELSE a.amount END)
                     AND NOT EXISTS (SELECT FROM obol.archived o
                                      WHERE o.license_id = a.license_id AND a.acted_at <= o.acts_until)
                ELSE false END
    UNION ALL
    SELECT t.license_id, 'a token is as its acts say', format('token %s, %s: no act made it so', t.token_id, t.name)
      FROM (SELECT NULL::uuid AS license_id, n.* FROM obol.admin_tokens n WHERE n.created_at >= p_since) t
     WHERE NOT EXISTS (SELECT FROM obol.admin_acts a
                        WHERE a.acted_at >= v_acts_since AND a.detail ->> 'token_id' = t.token_id::text
                          AND CASE WHEN t.is_first THEN a.act = 'register_first_token'
                                   ELSE a.act = 'create_token' AND a.detail -> 'scopes' = to_jsonb(t.scopes) END);
END
$$;

--
-- Name: verify_recent_grants(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_recent_grants(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'the balance is what the grants have left, less what was used since',
           format('grants have %s left, the balance was %s after entry %s', g.credits_left,
                  COALESCE(a.balance_after, k.balance, 0), l.allotted_entry_no)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      -- What was used since then is what the balance has fallen by, as the entries chain.
      LEFT JOIN obol.ledger_entries a ON a.license_id = r.id AND a.entry_no = l.allotted_entry_no
      LEFT JOIN obol.archived k ON k.license_id = r.id AND k.last_entry_no = l.allotted_entry_no
     CROSS JOIN LATERAL (SELECT COALESCE(sum(g.credits_left), 0) AS credits_left FROM obol.grants g
                          WHERE g.license_id = r.id AND g.has_started AND g.credits_left > 0) g
     WHERE g.credits_left <> COALESCE(a.balance_after, k.balance, 0)
    UNION ALL
    SELECT e.license_id, 'what changes the set of grants is allotted at once',
           format('entry %s is a %s, and entries are allotted up to %s', e.entry_no, e.kind, l.allotted_entry_no)
      FROM obol.ledger_entries e JOIN obol.licenses l ON l.license_id = e.license_id
     WHERE e.created_at >= p_since
       AND e.entry_no > l.allotted_entry_no AND (e.amount > 0 OR e.kind NOT IN ('charge', 'deduction', 'adjustment'))
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, t.taken + g.archived_lapsed)
      FROM (SELECT DISTINCT e.license_id, e.cause_id FROM obol.ledger_entries e
             WHERE e.created_at >= p_since AND e.kind IN ('expiry', 'void')) e
      JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     CROSS JOIN LATERAL (SELECT -sum(t.amount) AS taken FROM obol.ledger_entries t
                          WHERE t.license_id = e.license_id AND t.kind IN ('expiry', 'void') AND t.cause_id = e.cause_id) t
     WHERE t.taken + g.archived_lapsed <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
    UNION ALL
    SELECT e.license_id, 'a grant that has started has its entry, and no other has one',
           format('entry %s is a %s of %s credits, grant %s is of %s', e.entry_no, e.kind, e.amount, g.grant_id, g.amount)
      FROM obol.ledger_entries e
      JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since AND (e.kind = 'grant' OR (e.kind = 'adjustment' AND e.amount > 0))
       AND NOT (g.has_started AND g.amount = e.amount)
    UNION ALL
    SELECT e.license_id, 'an entry that gives or takes credits of a grant names one',
           format('entry %s is a %s of %s', e.entry_no, e.kind, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     WHERE e.created_at >= p_since
       AND (e.kind IN ('grant', 'expiry', 'void') OR (e.kind = 'adjustment' AND e.amount > 0)) AND g.grant_id IS NULL
    UNION ALL
    SELECT l.license_id, 'the next change of the grants is not missed',
           format('next change at %s, a grant changes at %s', l.next_change_at, g.next_change_at)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
     CROSS JOIN LATERAL (SELECT min(CASE WHEN g.has_started THEN LEAST(g.voided_at, g.expires_at)
                                         ELSE g.starts_at END) AS next_change_at
                           FROM obol.grants g WHERE g.license_id = r.id AND g.credits_left > 0) g
     WHERE l.next_change_at > g.next_change_at;
END
$$;

--
-- Name: verify_recent_holds(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_recent_holds(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has entry %s', h.hold_id, h.state, e.entry_no)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND h.state <> 'settled'
    UNION ALL
    SELECT h.license_id, 'a settled hold has exactly one charge, no other hold has one',
           format('hold %s is %s and has entry %s', h.hold_id, h.state, e.entry_no)
      FROM obol.holds h
      JOIN obol.ledger_entries e ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
     WHERE (h.state = 'held' OR (h.state IN ('released', 'expired') AND h.ended_at >= p_since))
       -- Or the branch above has it.
       AND e.created_at < p_since
    UNION ALL
    SELECT h.license_id, 'a delivered answer is paid for',
           format('hold %s is %s and was delivered at %s', h.hold_id, h.state, h.delivered_at)
      FROM obol.holds h
     WHERE (h.state = 'held' OR (h.state IN ('released', 'expired') AND h.ended_at >= p_since))
       AND h.delivered_at IS NOT NULL
    UNION ALL
    SELECT h.license_id, 'an open hold is of a process or a client, and not long overdue',
           format('hold %s of process %s was due at %s', h.hold_id, COALESCE(h.process_id::text, 'none'),
                  COALESCE(h.expires_at, p.lease_expires_at))
      FROM obol.holds h
      LEFT JOIN obol.processes p ON p.process_id = h.process_id
     WHERE h.state = 'held'
       AND (COALESCE(h.expires_at, p.lease_expires_at) < now() - interval '1 day') IS NOT FALSE
    UNION ALL
    SELECT h.license_id, 'a keyed hold has its key for thirty days',
           format('hold %s is %s, and its key names %s', h.hold_id, h.state, COALESCE(i.cause_id::text, 'nothing'))
      FROM (SELECT o.* FROM obol.holds o WHERE o.state = 'held'
             UNION ALL
            SELECT c.* FROM obol.ledger_entries e
              JOIN obol.holds c ON c.license_id = e.license_id AND c.hold_id = e.cause_id
             WHERE e.created_at >= p_since AND e.kind = 'charge' AND c.state = 'settled') h
      LEFT JOIN obol.idempotency_keys i
             ON i.license_id = h.license_id AND i.scope = 'license' AND i.idempotency_key = h.idempotency_key
     WHERE h.idempotency_key IS NOT NULL
       AND h.opened_at > now() - interval '29 days'
       AND (i.cause_id IS NULL
            OR (h.state = 'held' AND NOT i.in_force)
            OR (i.cause_id <> h.hold_id
                AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                                 WHERE r.license_id = h.license_id AND r.cause_id = h.hold_id AND r.kind = 'refund')))
    UNION ALL
    SELECT i.license_id, 'an idempotency key in force names what it did',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.claimed_at >= p_since AND i.in_force
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND (h.process_id IS NULL OR h.state IN ('held', 'settled')))
       AND NOT EXISTS (SELECT FROM obol.ledger_entries e
                        WHERE e.license_id = i.license_id AND e.kind IN ('deduction', 'adjustment')
                          AND e.cause_id = i.cause_id)
       AND NOT EXISTS (SELECT FROM obol.grants g
                        WHERE g.license_id = i.license_id AND g.grant_id = i.cause_id)
       -- Of an operator alone: for a refund's id there is no index.
       AND NOT (i.scope = 'operator'
                AND EXISTS (SELECT FROM obol.ledger_entries r
                             WHERE r.license_id = i.license_id AND r.kind = 'refund' AND r.part_id = i.cause_id))
    UNION ALL
    SELECT i.license_id, 'a stored answer is of a settled hold',
           format('key of scope %s claimed at %s names %s', i.scope, i.claimed_at, i.cause_id)
      FROM obol.idempotency_keys i
     WHERE i.claimed_at >= p_since AND i.answer IS NOT NULL
       AND NOT EXISTS (SELECT FROM obol.holds h
                        WHERE h.license_id = i.license_id AND h.hold_id = i.cause_id
                          AND h.process_id IS NOT NULL AND h.state = 'settled');
END
$$;

--
-- Name: verify_recent_ledger(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_recent_ledger(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY
    SELECT e.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', e.entry_no,
                  COALESCE((SELECT max(b.entry_no) FROM obol.ledger_entries b
                             WHERE b.license_id = e.license_id AND b.entry_no < e.entry_no), a.last_entry_no, 0))
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
      LEFT JOIN obol.archived a ON a.license_id = e.license_id
     WHERE e.created_at >= p_since AND e.entry_no <> COALESCE(a.last_entry_no, 0) + 1 AND p.entry_no IS NULL
    UNION ALL
    SELECT e.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', e.entry_no, COALESCE(p.balance_after, a.balance, 0), e.amount,
                  COALESCE(p.balance_after, a.balance, 0) + e.amount, e.balance_after)
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
      LEFT JOIN obol.archived a ON a.license_id = e.license_id
     WHERE e.created_at >= p_since AND (e.entry_no = COALESCE(a.last_entry_no, 0) + 1 OR p.entry_no IS NOT NULL)
       AND e.balance_after <> COALESCE(p.balance_after, a.balance, 0) + e.amount
    UNION ALL
    SELECT e.license_id, 'a charge names its hold and carries its key and price',
           format('entry %s, hold %s', e.entry_no, e.cause_id)
      FROM obol.ledger_entries e
      LEFT JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge'
       AND (h.hold_id IS NULL OR h.price IS DISTINCT FROM e.price OR h.model IS DISTINCT FROM e.model
            OR h.key_id IS DISTINCT FROM e.key_id
            OR (h.process_id IS NOT NULL AND (e.price IS NULL OR e.usage IS NULL)))
    UNION ALL
    SELECT e.license_id, 'a charge is its price times its usage',
           format('entry %s: charged %s, short by %s, price times usage is %s', e.entry_no,
                  -e.amount, e.shortfall, obol.charge_for(e.price, e.usage))
      FROM obol.ledger_entries e
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND e.price IS NOT NULL
       AND e.shortfall - e.amount IS DISTINCT FROM obol.charge_for(e.price, e.usage)
    UNION ALL
    SELECT e.license_id, 'a client is charged what it held at most',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND h.process_id IS NULL
       AND (-e.amount > h.amount OR e.shortfall > 0)
    UNION ALL
    SELECT e.license_id, 'what is short of something took all of its hold',
           format('entry %s: charged %s, short by %s, hold %s was of %s', e.entry_no, -e.amount,
                  e.shortfall, h.hold_id, h.amount)
      FROM obol.ledger_entries e
      JOIN obol.holds h ON h.license_id = e.license_id AND h.hold_id = e.cause_id
     WHERE e.created_at >= p_since AND e.kind = 'charge' AND e.shortfall > 0 AND -e.amount < h.amount
    UNION ALL
    SELECT r.license_id, 'refunds give back what their entry took at most',
           format('%s were given back, their cause %s took %s', b.amount, r.cause_id, -t.amount)
      FROM (SELECT DISTINCT e.license_id, e.cause_id
              FROM obol.ledger_entries e WHERE e.created_at >= p_since AND e.kind = 'refund') r
     CROSS JOIN LATERAL (SELECT sum(b.amount) AS amount FROM obol.ledger_entries b
                          WHERE b.license_id = r.license_id AND b.kind = 'refund' AND b.cause_id = r.cause_id) b
      LEFT JOIN obol.ledger_entries t
             ON t.license_id = r.license_id AND t.cause_id = r.cause_id AND t.kind IN ('charge', 'deduction')
     WHERE t.amount IS NULL OR b.amount > -t.amount;
END
$$;

--
-- Name: verify_recent_licenses(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_recent_licenses(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'balance is the sum of the entries',
           format('balance %s, it was %s after entry %s', l.balance, COALESCE(e.balance_after, a.balance, 0),
                  COALESCE(e.entry_no, a.last_entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN obol.archived a ON a.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.balance_after, n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.balance <> COALESCE(e.balance_after, a.balance, 0)
    UNION ALL
    SELECT l.license_id, 'the entry counter is the last entry number',
           format('counter %s, the last is %s', l.entry_count, COALESCE(e.entry_no, a.last_entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN obol.archived a ON a.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.entry_count <> COALESCE(e.entry_no, a.last_entry_no, 0)
    UNION ALL
    SELECT l.license_id, 'held is the sum of the open holds',
           format('held %s, open holds sum to %s', l.held, COALESCE(s.total, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN (SELECT h.license_id, sum(h.amount) AS total
                   FROM obol.holds h WHERE h.state = 'held' GROUP BY h.license_id) s ON s.license_id = r.id
     WHERE l.held <> COALESCE(s.total, 0)
    UNION ALL
    SELECT l.license_id, '0 <= held <= balance', format('held %s, balance %s', l.held, l.balance)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
     WHERE NOT (0 <= l.held AND l.held <= l.balance)
    UNION ALL
    SELECT s.license_id, 'the open holds of a limit are those that count in it',
           format('%s of %s, and %s holds are open', s.open_holds, s.subject_id, COALESCE(h.holds, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.limit_states s ON s.license_id = r.id
      LEFT JOIN (SELECT o.license_id, u.subject_id, count(*) AS holds
                   FROM obol.holds o CROSS JOIN LATERAL unnest(o.limited_by) AS u (subject_id)
                  WHERE o.state = 'held' GROUP BY o.license_id, u.subject_id) h
             ON h.license_id = s.license_id AND h.subject_id = s.subject_id
     WHERE s.open_holds <> COALESCE(h.holds, 0)
    UNION ALL
    SELECT w.license_id, 'no usage is rolled up that is not in the ledger',
           format('rolled up to entry %s of %s', w.entry_no, l.entry_count)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      JOIN obol.usage_watermarks w ON w.license_id = r.id
     WHERE w.entry_no > l.entry_count;
END
$$;

--
-- Name: verify_since(timestamp with time zone); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_since(p_since timestamp with time zone) RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY SELECT l.license_id, l.rule, l.detail FROM obol.verify_recent_licenses(p_since) l;
    RETURN QUERY SELECT e.license_id, e.rule, e.detail FROM obol.verify_recent_ledger(p_since) e;
    RETURN QUERY SELECT h.license_id, h.rule, h.detail FROM obol.verify_recent_holds(p_since) h;
    RETURN QUERY SELECT g.license_id, g.rule, g.detail FROM obol.verify_recent_grants(p_since) g;
    RETURN QUERY SELECT a.license_id, a.rule, a.detail FROM obol.verify_recent_acts(p_since) a;
END
$$;

--
-- Name: verify_usage(); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_usage() RETURNS TABLE(license_id uuid, rule text, detail text)
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
    SELECT d.license_id, 'usage is what the entries up to its watermark say',
           format('%s, model %s: %s calls and %s credits too many, or others of its figures differ', d.day,
                  COALESCE(d.model, 'none'), sum(d.calls), sum(d.credits))
      FROM (SELECT r.license_id, r.day, r.model, r.key_id, r.calls, r.credits, r.input_tokens, r.output_tokens,
                   r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.cache_read_tokens, r.refunded
              FROM obol.usage_rollups r
            UNION ALL
            SELECT k.license_id, k.day, k.model, k.key_id, -k.calls, -k.credits, -k.input_tokens, -k.output_tokens,
                   -k.cache_write_5m_tokens, -k.cache_write_1h_tokens, -k.cache_read_tokens, -k.refunded
              FROM obol.archived_usage k
            UNION ALL
            SELECT u.license_id, u.day, u.model, u.key_id, -u.calls, -u.credits, -u.input_tokens, -u.output_tokens,
                   -u.cache_write_5m_tokens, -u.cache_write_1h_tokens, -u.cache_read_tokens, -u.refunded
              FROM obol.entry_usage u
              JOIN obol.usage_watermarks w ON w.license_id = u.license_id AND u.entry_no <= w.entry_no) d
     GROUP BY d.license_id, d.day, d.model, d.key_id
    HAVING sum(d.calls) <> 0 OR sum(d.credits) <> 0 OR sum(d.input_tokens) <> 0 OR sum(d.output_tokens) <> 0
        OR sum(d.cache_write_5m_tokens) <> 0 OR sum(d.cache_write_1h_tokens) <> 0 OR sum(d.cache_read_tokens) <> 0
        OR sum(d.refunded) <> 0
    UNION ALL
    SELECT w.license_id, 'no usage is rolled up that is not in the ledger',
           format('rolled up to entry %s of %s', w.entry_no, l.entry_count)
      FROM obol.usage_watermarks w JOIN obol.licenses l USING (license_id)
     WHERE w.entry_no > l.entry_count
$$;

--
-- Name: verify_v2(timestamp with time zone, integer, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.verify_v2(p_since timestamp with time zone, p_limit integer, p_token_digest bytea, p_request_id text) RETURNS TABLE(checked jsonb, finding_count bigint, findings jsonb)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    v_checked jsonb;
BEGIN
    PERFORM obol.check_token(p_token_digest, 'read');
    IF p_since IS NULL THEN
        v_checked := jsonb_build_object(
            'licenses', (SELECT count(*) FROM obol.licenses),
            'entries', (SELECT count(*) FROM obol.ledger_entries),
            'holds', (SELECT count(*) FROM obol.holds),
            'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys),
            'acts', (SELECT count(*) FROM obol.admin_acts));
        RETURN QUERY
            SELECT v_checked, COALESCE(max(v.number), 0),
                   COALESCE(jsonb_agg(jsonb_build_object(
                       'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
              FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify() f) v;
        RETURN;
    END IF;
    v_checked := jsonb_build_object(
        'licenses', (SELECT count(*) FROM obol.recent_licenses(p_since)),
        'entries', (SELECT count(*) FROM obol.ledger_entries e WHERE e.created_at >= p_since),
        'holds', (SELECT count(*) FROM obol.holds h WHERE h.state = 'held')
                 + (SELECT count(*) FROM obol.ledger_entries e WHERE e.created_at >= p_since AND e.kind = 'charge')
                 + (SELECT count(*) FROM obol.holds h WHERE h.state IN ('released', 'expired') AND h.ended_at >= p_since),
        'idempotency_keys', (SELECT count(*) FROM obol.idempotency_keys i WHERE i.claimed_at >= p_since),
        'acts', (SELECT count(*) FROM obol.admin_acts a WHERE a.acted_at >= p_since));
    RETURN QUERY
        SELECT v_checked, COALESCE(max(v.number), 0),
               COALESCE(jsonb_agg(jsonb_build_object(
                   'license_id', v.license_id, 'rule', v.rule, 'detail', v.detail)) FILTER (WHERE v.number <= p_limit), '[]')
          FROM (SELECT f.*, row_number() OVER () AS number FROM obol.verify_since(p_since) f) v;
END
$$;

--
-- Name: void_grant(uuid, uuid, bytea, text); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.void_grant(p_license_id uuid, p_grant_id uuid, p_token_digest bytea, p_request_id text) RETURNS TABLE(grant_id uuid, amount bigint, credits_left bigint, lapsed bigint, priority bigint, starts_at timestamp with time zone, expires_at timestamp with time zone, state text, reason text, reference text, created_at timestamp with time zone, balance bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET lock_timeout TO '5s'
    AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'grant');
    v_now timestamptz;
    v_state text;
BEGIN
    PERFORM obol.lock_license(p_license_id);
    PERFORM obol.bring_up_to_date(p_license_id, true);
    v_now := clock_timestamp();
    SELECT d.state INTO v_state FROM obol.describe_grants(p_license_id) d WHERE d.grant_id = p_grant_id;
    IF v_state IS NULL THEN
        RAISE EXCEPTION 'GRANT_NOT_FOUND: this license has no grant %', p_grant_id USING ERRCODE = 'OB414';
    ELSIF v_state IN ('used_up', 'expired') THEN
        RAISE EXCEPTION 'GRANT_ENDED: the grant is %', v_state
            USING ERRCODE = 'OB415', HINT = 'There is nothing left of it to take. An adjustment corrects a balance.';
    ELSIF v_state <> 'voided' THEN
        UPDATE obol.grants g
           SET voided_at = v_now,
               credits_left = CASE WHEN g.has_started THEN g.credits_left ELSE 0 END,
               lapsed = CASE WHEN g.has_started THEN g.lapsed ELSE g.amount END
         WHERE g.license_id = p_license_id AND g.grant_id = p_grant_id;
        PERFORM obol.bring_up_to_date(p_license_id, true);
        PERFORM obol.note_act(p_license_id, v_actor, 'void_grant', p_grant_id::text, NULL, p_request_id);
    END IF;
    RETURN QUERY SELECT d.*, l.balance
                   FROM obol.describe_grants(p_license_id) d
                   JOIN obol.licenses l ON l.license_id = p_license_id
                  WHERE d.grant_id = p_grant_id;
END
$$;

--
-- Name: write_event(uuid, text, uuid, jsonb); Type: FUNCTION; Schema: obol; Owner: -
--

CREATE FUNCTION obol.write_event(p_license_id uuid, p_type text, p_cause_id uuid, p_data jsonb) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
DECLARE
    c_nobody constant uuid := '00000000-0000-0000-0000-000000000000';
    v_event_no bigint;
    v_about jsonb := jsonb_build_object('license_id', NULLIF(p_license_id, c_nobody), 'external_id',
                                        (SELECT x.external_id FROM obol.external_ids x WHERE x.license_id = p_license_id));
    v_webhook_id uuid;
BEGIN
    PERFORM FROM obol.events e
      WHERE e.license_id = p_license_id AND e.type = p_type AND e.cause_id = p_cause_id;
    IF FOUND THEN
        RETURN;
    END IF;
    INSERT INTO obol.events (license_id, event_no, event_id, type, cause_id, data, created_at)
    SELECT p_license_id, COALESCE(max(e.event_no), 0) + 1, gen_random_uuid(), p_type, p_cause_id, v_about || p_data,
           clock_timestamp()
      FROM obol.events e WHERE e.license_id = p_license_id
    ON CONFLICT DO NOTHING
    RETURNING event_no INTO v_event_no;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('an event was written');
    END IF;
    -- In one order, as two transactions may write for the same ones.
    FOR v_webhook_id IN
        SELECT w.webhook_id FROM obol.webhooks w
         WHERE w.deleted_at IS NULL AND (w.types IS NULL OR p_type = ANY (w.types))
           AND (w.kind = 'http' OR EXISTS (SELECT FROM obol.licenses l
                                            WHERE l.license_id = p_license_id AND l.email IS NOT NULL))
         ORDER BY w.webhook_id
    LOOP
        PERFORM obol.queue_delivery(p_license_id, v_event_no, v_webhook_id);
    END LOOP;
END
$$;

--
-- Name: admin_acts; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.admin_acts (
    act_no bigint NOT NULL,
    acted_at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    act text NOT NULL,
    license_id uuid,
    target text,
    detail jsonb,
    request_id text
);

--
-- Name: TABLE admin_acts; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.admin_acts IS 'The audit trail: what operators did, only ever added, in the transaction of the act. actor is token:<name> or cli:<login>. No key and no token is in it.';

--
-- Name: admin_acts_act_no_seq; Type: SEQUENCE; Schema: obol; Owner: -
--

ALTER TABLE obol.admin_acts ALTER COLUMN act_no ADD GENERATED BY DEFAULT AS IDENTITY (
    SEQUENCE NAME obol.admin_acts_act_no_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

--
-- Name: admin_tokens; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.admin_tokens (
    token_id uuid NOT NULL,
    token_digest bytea NOT NULL,
    name text NOT NULL,
    scopes text[] NOT NULL,
    is_first boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT admin_tokens_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT admin_tokens_scopes_check CHECK (((scopes <@ ARRAY['read'::text, 'grant'::text, 'manage'::text, 'tokens'::text]) AND (cardinality(scopes) > 0))),
    CONSTRAINT admin_tokens_token_digest_check CHECK ((length(token_digest) = 32))
);

--
-- Name: TABLE admin_tokens; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.admin_tokens IS 'SHA-256 digests of the tokens of the admin API, and what each may do. The first one is OBOL_ADMIN_TOKEN, which only the owner''s login can register. Names are told apart while their tokens are good: the audit trail calls a token by its name.';

--
-- Name: alembic_version; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.alembic_version (
    version_num character varying(32) NOT NULL
);

--
-- Name: allotments; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.allotments (
    license_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    first_entry_no bigint NOT NULL,
    last_entry_no bigint NOT NULL,
    balance_from bigint NOT NULL,
    balance_to bigint NOT NULL,
    CONSTRAINT allotments_check CHECK (((first_entry_no <= last_entry_no) AND (balance_from <> balance_to))),
    CONSTRAINT allotments_first_entry_no_check CHECK ((first_entry_no >= 0))
);

--
-- Name: TABLE allotments; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.allotments IS 'What entries drew on. From first_entry_no to last_entry_no the set of grants was the same, and the credits that took the balance from balance_from down to balance_to were of this grant; a refund, by itself, goes up. From entry 0: of before grants had lifetimes, where only the sum is known.';

--
-- Name: archived; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.archived (
    license_id uuid NOT NULL,
    last_entry_no bigint NOT NULL,
    balance bigint NOT NULL,
    last_entry_at timestamp with time zone NOT NULL,
    acts_until timestamp with time zone NOT NULL,
    digest bytea NOT NULL,
    CONSTRAINT archived_balance_check CHECK ((balance >= 0)),
    CONSTRAINT archived_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT archived_last_entry_no_check CHECK ((last_entry_no > 0))
);

--
-- Name: TABLE archived; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.archived IS 'Where the ledger of a license begins in the tables: after last_entry_no, at balance. The entries up to that one are in archived_files; digest is SHA-256 over the digest before the last file, empty before the first, and that of the file. Acts up to acts_until are of archived entries.';

--
-- Name: archived_days; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.archived_days (
    license_id uuid NOT NULL,
    day date NOT NULL,
    total numeric NOT NULL,
    granted numeric NOT NULL,
    charged numeric NOT NULL,
    refunded numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    adjusted numeric NOT NULL,
    shortfall numeric NOT NULL
);

--
-- Name: TABLE archived_days; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.archived_days IS 'What the archived entries of a license gave and took by day (UTC), as amounts above zero (total and adjusted: of either sign): with it verify still compares the business by time with the entries that there are.';

--
-- Name: archived_files; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.archived_files (
    license_id uuid NOT NULL,
    first_entry_no bigint NOT NULL,
    last_entry_no bigint NOT NULL,
    file_digest bytea NOT NULL,
    archived_at timestamp with time zone NOT NULL,
    CONSTRAINT archived_files_check CHECK ((first_entry_no <= last_entry_no)),
    CONSTRAINT archived_files_file_digest_check CHECK ((length(file_digest) = 32)),
    CONSTRAINT archived_files_first_entry_no_check CHECK ((first_entry_no > 0))
);

--
-- Name: TABLE archived_files; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.archived_files IS 'Which entries are in which file of `obol archive`, and its SHA-256.';

--
-- Name: archived_usage; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.archived_usage (
    license_id uuid NOT NULL,
    day date NOT NULL,
    model text,
    key_id uuid,
    calls bigint NOT NULL,
    credits numeric NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    cache_write_5m_tokens numeric NOT NULL,
    cache_write_1h_tokens numeric NOT NULL,
    cache_read_tokens numeric NOT NULL,
    refunded numeric NOT NULL
);

--
-- Name: TABLE archived_usage; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.archived_usage IS 'How much of the roll-ups of usage is of archived entries: with it verify still compares the roll-ups with the entries that there are.';

--
-- Name: audit_starts; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.audit_starts (
    license_id uuid NOT NULL,
    entry_no bigint NOT NULL,
    CONSTRAINT audit_starts_entry_no_check CHECK ((entry_no > 0))
);

--
-- Name: TABLE audit_starts; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.audit_starts IS 'Up to which entry a license is of before the audit trail: verify wants no acts for those. Only written by the migration; a license without a row here was made later, or had no entries.';

--
-- Name: business_rollups; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.business_rollups (
    begins_at timestamp with time zone NOT NULL,
    is_final boolean NOT NULL,
    total numeric NOT NULL,
    granted numeric NOT NULL,
    charged numeric NOT NULL,
    refunded numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    adjusted numeric NOT NULL,
    shortfall numeric NOT NULL
);

--
-- Name: TABLE business_rollups; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.business_rollups IS 'What the entries of all licenses gave and took in each ten minutes, without a gap from the first to the newest row. Entries never change, so a row is counted when its time is over, and once more, for good, a day later: roll_up_business.';

--
-- Name: deliveries; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.deliveries (
    license_id uuid NOT NULL,
    event_no bigint NOT NULL,
    webhook_id uuid NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    first_attempt_at timestamp with time zone,
    last_attempt_at timestamp with time zone,
    last_status integer,
    last_error text,
    CONSTRAINT deliveries_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'delivered'::text, 'failed'::text])))
);

--
-- Name: TABLE deliveries; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.deliveries IS 'Each event for each webhook that wanted it when it happened: waiting, delivered, or given up after three days (failed).';

--
-- Name: delivery_queues; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.delivery_queues (
    license_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    next_attempt_at timestamp with time zone,
    claim_id uuid,
    event_no bigint
)
WITH (fillfactor='50');

--
-- Name: TABLE delivery_queues; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.delivery_queues IS 'The order of a license''s events at a webhook: only the first that waits is tried, from next_attempt_at on (null: none waits). Whoever tries it (claim_id, event_no) puts that time off first, so that nobody else does meanwhile, and anybody may when the process has died.';

--
-- Name: ledger_entries; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.ledger_entries (
    license_id uuid NOT NULL,
    entry_no bigint NOT NULL,
    kind text NOT NULL,
    amount bigint NOT NULL,
    balance_after bigint NOT NULL,
    cause_id uuid NOT NULL,
    reference text,
    model text,
    price jsonb,
    usage jsonb,
    shortfall bigint DEFAULT 0 NOT NULL,
    created_at timestamp with time zone NOT NULL,
    part_id uuid,
    key_id uuid,
    CONSTRAINT ledger_entries_balance_after_check CHECK ((balance_after >= 0)),
    CONSTRAINT ledger_entries_check CHECK (((shortfall = 0) OR (kind = 'charge'::text))),
    CONSTRAINT ledger_entries_entry_no_check CHECK ((entry_no > 0)),
    CONSTRAINT ledger_entries_kind_check CHECK ((kind = ANY (ARRAY['grant'::text, 'deduction'::text, 'charge'::text, 'refund'::text, 'expiry'::text, 'void'::text, 'adjustment'::text]))),
    CONSTRAINT ledger_entries_part_check CHECK (((part_id IS NULL) OR (kind = ANY (ARRAY['refund'::text, 'expiry'::text, 'void'::text])))),
    CONSTRAINT ledger_entries_shortfall_check CHECK ((shortfall >= 0)),
    CONSTRAINT ledger_entries_sign_check CHECK (
CASE
    WHEN (kind = ANY (ARRAY['grant'::text, 'refund'::text])) THEN (amount >= 0)
    WHEN (kind = 'adjustment'::text) THEN (amount <> 0)
    ELSE (amount <= 0)
END)
);

--
-- Name: TABLE ledger_entries; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.ledger_entries IS 'Every change of a balance, only ever added. cause_id is the id of the grant, adjustment, deduction or hold; a refund names what it gives back, and expiry and void the grant that they took from, each possibly in several parts. One charge a hold is the unique constraint.';

--
-- Name: COLUMN ledger_entries.key_id; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.ledger_entries.key_id IS 'Of a charge or a deduction, the key that made it; null: an operator did, or it is from before keys had ids.';

--
-- Name: entry_business; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.entry_business AS
 SELECT created_at,
    date_bin('00:10:00'::interval, created_at, '2000-01-01 00:00:00+00'::timestamp with time zone) AS begins_at,
    amount AS total,
        CASE
            WHEN (kind = 'grant'::text) THEN amount
            ELSE (0)::bigint
        END AS granted,
        CASE
            WHEN (kind = ANY (ARRAY['charge'::text, 'deduction'::text])) THEN (- amount)
            ELSE (0)::bigint
        END AS charged,
        CASE
            WHEN (kind = 'refund'::text) THEN amount
            ELSE (0)::bigint
        END AS refunded,
        CASE
            WHEN (kind = 'expiry'::text) THEN (- amount)
            ELSE (0)::bigint
        END AS expired,
        CASE
            WHEN (kind = 'void'::text) THEN (- amount)
            ELSE (0)::bigint
        END AS voided,
        CASE
            WHEN (kind = 'adjustment'::text) THEN amount
            ELSE (0)::bigint
        END AS adjusted,
    COALESCE(shortfall, (0)::bigint) AS shortfall
   FROM obol.ledger_entries e;

--
-- Name: entry_usage; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.entry_usage AS
 SELECT e.license_id,
    e.entry_no,
    ((e.created_at AT TIME ZONE 'UTC'::text))::date AS day,
    COALESCE(c.model, e.model) AS model,
    COALESCE(c.key_id, e.key_id) AS key_id,
        CASE
            WHEN (e.kind = 'refund'::text) THEN 0
            ELSE 1
        END AS calls,
        CASE
            WHEN (e.kind = 'refund'::text) THEN (0)::bigint
            ELSE (- e.amount)
        END AS credits,
    t.input_tokens,
    t.output_tokens,
    t.cache_write_5m_tokens,
    t.cache_write_1h_tokens,
    t.cache_read_tokens,
        CASE
            WHEN (e.kind = 'refund'::text) THEN e.amount
            ELSE (0)::bigint
        END AS refunded
   FROM ((obol.ledger_entries e
     LEFT JOIN obol.ledger_entries c ON (((e.kind = 'refund'::text) AND (c.license_id = e.license_id) AND (c.cause_id = e.cause_id) AND (c.kind = ANY (ARRAY['charge'::text, 'deduction'::text])))))
     CROSS JOIN LATERAL ( SELECT COALESCE(sum(a.input), (0)::numeric) AS input_tokens,
            COALESCE(sum(a.output), (0)::numeric) AS output_tokens,
            COALESCE(sum(a.cache_write_5m), (0)::numeric) AS cache_write_5m_tokens,
            COALESCE(sum(a.cache_write_1h), (0)::numeric) AS cache_write_1h_tokens,
            COALESCE(sum(a.cache_read), (0)::numeric) AS cache_read_tokens
           FROM ( SELECT
                        CASE jsonb_typeof((u.tokens -> 'input'::text))
                            WHEN 'number'::text THEN ((u.tokens -> 'input'::text))::numeric
                            ELSE NULL::numeric
                        END AS input,
                        CASE jsonb_typeof((u.tokens -> 'output'::text))
                            WHEN 'number'::text THEN ((u.tokens -> 'output'::text))::numeric
                            ELSE NULL::numeric
                        END AS output,
                        CASE jsonb_typeof((u.tokens -> 'cache_write_5m'::text))
                            WHEN 'number'::text THEN ((u.tokens -> 'cache_write_5m'::text))::numeric
                            ELSE NULL::numeric
                        END AS cache_write_5m,
                        CASE jsonb_typeof((u.tokens -> 'cache_write_1h'::text))
                            WHEN 'number'::text THEN ((u.tokens -> 'cache_write_1h'::text))::numeric
                            ELSE NULL::numeric
                        END AS cache_write_1h,
                        CASE jsonb_typeof((u.tokens -> 'cache_read'::text))
                            WHEN 'number'::text THEN ((u.tokens -> 'cache_read'::text))::numeric
                            ELSE NULL::numeric
                        END AS cache_read
                   FROM jsonb_array_elements(
                        CASE
                            WHEN (e.usage IS NULL) THEN '[]'::jsonb
                            WHEN (jsonb_typeof((e.usage -> 'attempts'::text)) = 'array'::text) THEN (e.usage -> 'attempts'::text)
                            ELSE jsonb_build_array(e.usage)
                        END) u(tokens)) a) t)
  WHERE (e.kind = ANY (ARRAY['charge'::text, 'deduction'::text, 'refund'::text]));

--
-- Name: events; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.events (
    license_id uuid NOT NULL,
    event_no bigint NOT NULL,
    event_id uuid NOT NULL,
    type text NOT NULL,
    cause_id uuid,
    data jsonb NOT NULL,
    created_at timestamp with time zone NOT NULL,
    CONSTRAINT events_event_no_check CHECK ((event_no > 0))
);

--
-- Name: TABLE events; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.events IS 'What happened and others want to know, written in the transaction in which it happens, and numbered by license. cause_id (a hold, a grant, a key, a payment) is told once of each type. license_id is all zeros where it is about no license: therefore without a foreign key.';

--
-- Name: external_ids; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.external_ids (
    external_id text NOT NULL,
    license_id uuid NOT NULL,
    CONSTRAINT external_ids_external_id_check CHECK (((length(external_id) >= 1) AND (length(external_id) <= 200)))
);

--
-- Name: TABLE external_ids; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.external_ids IS 'What others call a license: an order, a customer. A table of its own, because an id is one license''s among all, and a sharded table can only be unique in what it is sharded by; for the same reason without a foreign key.';

--
-- Name: grants; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.grants (
    license_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    amount bigint NOT NULL,
    credits_left bigint NOT NULL,
    lapsed bigint DEFAULT 0 NOT NULL,
    priority bigint NOT NULL,
    starts_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    voided_at timestamp with time zone,
    has_started boolean NOT NULL,
    reason text NOT NULL,
    reference text,
    created_at timestamp with time zone NOT NULL,
    expiry_told_at timestamp with time zone,
    archived_starts bigint DEFAULT 0 NOT NULL,
    archived_lapsed bigint DEFAULT 0 NOT NULL,
    archived_drawn bigint DEFAULT 0 NOT NULL,
    CONSTRAINT grants_amount_check CHECK ((amount > 0)),
    CONSTRAINT grants_check CHECK ((expires_at > starts_at)),
    CONSTRAINT grants_check1 CHECK (((credits_left + lapsed) <= amount)),
    CONSTRAINT grants_credits_left_check CHECK ((credits_left >= 0)),
    CONSTRAINT grants_lapsed_check CHECK ((lapsed >= 0)),
    CONSTRAINT grants_priority_check CHECK (((priority >= 0) AND (priority <= 100)))
);

--
-- Name: TABLE grants; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.grants IS 'Credits with a lifetime. credits_left is as of the last change of the license''s set of grants: what was used since is in the balance and not yet allotted. lapsed is what expiry and void took.';

--
-- Name: COLUMN grants.archived_starts; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.grants.archived_starts IS 'How many archived entries started it: 1 at most.';

--
-- Name: COLUMN grants.archived_lapsed; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.grants.archived_lapsed IS 'How much of what lapsed archived entries took.';

--
-- Name: COLUMN grants.archived_drawn; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.grants.archived_drawn IS 'How much archived allotments drew on it.';

--
-- Name: imported_keys; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.imported_keys (
    key_digest bytea NOT NULL,
    license_id uuid NOT NULL,
    imported jsonb NOT NULL,
    imported_at timestamp with time zone NOT NULL,
    CONSTRAINT imported_keys_key_digest_check CHECK ((length(key_digest) = 32))
);

--
-- Name: TABLE imported_keys; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.imported_keys IS 'SHA-256 digests of the license keys that were imported from another system, which do not name their license as our own do: where to look for it, and nothing more; whether the key is good is for license_keys to say. imported is what was said of the license then: {"credits", "status", "expires_at", "external_id", "name"}. Rows are only ever added, and never changed, so that who has read one may keep it. A table of its own, and without a foreign key, for the reasons of external_ids.';

--
-- Name: license_keys; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.license_keys (
    license_id uuid NOT NULL,
    key_digest bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    key_id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    limits jsonb,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    made_by uuid,
    CONSTRAINT license_keys_key_digest_check CHECK ((length(key_digest) = 32))
);

--
-- Name: TABLE license_keys; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.license_keys IS 'SHA-256 digests of the license keys; a license can have several. The keys themselves are stored nowhere. last_used_at is right to the hour. limits is {"requests_per_minute", "concurrent_holds", "credits_per_day", "credits_per_month", "models"}, as in licenses, with those that are set; null: none.';

--
-- Name: COLUMN license_keys.made_by; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.license_keys.made_by IS 'The key that made this one, for the holder of the license; null: an operator did.';

--
-- Name: license_key_validity; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.license_key_validity AS
 SELECT license_id,
    key_digest,
    created_at AS valid_from,
    COALESCE(LEAST(expires_at, revoked_at), 'infinity'::timestamp with time zone) AS valid_until,
    key_id,
    (limits IS NOT NULL) AS is_limited,
    last_used_at
   FROM obol.license_keys k;

--
-- Name: licenses; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.licenses (
    license_id uuid NOT NULL,
    name text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    expires_at timestamp with time zone,
    balance bigint DEFAULT 0 NOT NULL,
    held bigint DEFAULT 0 NOT NULL,
    entry_count bigint DEFAULT 0 NOT NULL,
    unpaid_tokens bigint DEFAULT 0 NOT NULL,
    unpaid_until timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    fingerprint bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    next_change_at timestamp with time zone DEFAULT 'infinity'::timestamp with time zone NOT NULL,
    allotted_entry_no bigint DEFAULT 0 NOT NULL,
    limits jsonb,
    notify_below bigint DEFAULT 0 NOT NULL,
    alert_base bigint DEFAULT 0 NOT NULL,
    alerts jsonb,
    email text,
    most_own_keys integer DEFAULT 0 NOT NULL,
    CONSTRAINT licenses_balance_check CHECK ((balance >= 0)),
    CONSTRAINT licenses_check CHECK ((held <= balance)),
    CONSTRAINT licenses_held_check CHECK ((held >= 0)),
    CONSTRAINT licenses_most_own_keys_check CHECK (((most_own_keys >= 0) AND (most_own_keys <= 100))),
    CONSTRAINT licenses_status_check CHECK ((status = ANY (ARRAY['active'::text, 'suspended'::text]))),
    CONSTRAINT licenses_unpaid_tokens_check CHECK ((unpaid_tokens >= 0))
)
WITH (fillfactor='50', autovacuum_vacuum_scale_factor='0.05', autovacuum_vacuum_cost_delay='0');

--
-- Name: TABLE licenses; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.licenses IS 'The owners of credits. Every charge is one update of one row here, so there is room on each page for new versions and no index on a column that a charge changes. unpaid_tokens were let through in streams that broke off and count until unpaid_until. next_change_at is when the set of grants changes next; what was used up to the entry allotted_entry_no is allotted to them.';

--
-- Name: COLUMN licenses.notify_below; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.licenses.notify_below IS 'The highest threshold below the balance that is still to be told: 0 for the end of the credits, -1 when that was told too. A charge compares with it, and only the one that crosses it writes an event.';

--
-- Name: COLUMN licenses.alert_base; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.licenses.alert_base IS 'The balance after the last top-up, of which thresholds in percent are.';

--
-- Name: COLUMN licenses.alerts; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.licenses.alerts IS '{"credits": […], "percent": […]}, with those that are set; null: none.';

--
-- Name: COLUMN licenses.most_own_keys; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.licenses.most_own_keys IS 'How many good keys of its own making whoever holds the license may have at once; 0: none may be made.';

--
-- Name: license_overview; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.license_overview AS
 SELECT l.license_id,
    l.name,
        CASE
            WHEN ((l.status = 'active'::text) AND (l.expires_at <= clock_timestamp())) THEN 'expired'::text
            ELSE l.status
        END AS status,
    l.expires_at,
    l.balance,
    l.held,
    (l.balance - l.held) AS available,
    l.created_at,
    x.external_id,
    l.limits
   FROM (obol.licenses l
     LEFT JOIN obol.external_ids x ON ((x.license_id = l.license_id)));

--
-- Name: limit_states; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.limit_states (
    license_id uuid NOT NULL,
    subject_id uuid NOT NULL,
    next_call_at timestamp with time zone DEFAULT '-infinity'::timestamp with time zone NOT NULL,
    open_holds bigint DEFAULT 0 NOT NULL,
    day date NOT NULL,
    day_credits numeric DEFAULT 0 NOT NULL,
    month date NOT NULL,
    month_credits numeric DEFAULT 0 NOT NULL,
    CONSTRAINT limit_states_day_credits_check CHECK ((day_credits >= (0)::numeric)),
    CONSTRAINT limit_states_month_credits_check CHECK ((month_credits >= (0)::numeric)),
    CONSTRAINT limit_states_open_holds_check CHECK ((open_holds >= 0))
)
WITH (fillfactor='50');

--
-- Name: TABLE limit_states; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.limit_states IS 'What has been used of limits: a row for each key (subject_id is its key_id) and each license (its license_id) that has or had one, written under the lock of the license. next_call_at is when the calls of requests_per_minute would have come if they had been evenly spread (GCRA''s theoretical arrival time). Credits are charges, deductions and what open holds set aside.';

--
-- Name: named_acts; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.named_acts AS
 SELECT act_no,
    acted_at,
    act,
    license_id,
    target,
        CASE
            WHEN (target ~ '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$'::text) THEN (target)::uuid
            ELSE NULL::uuid
        END AS target_id,
        CASE
            WHEN (jsonb_typeof((detail -> 'amount'::text)) = 'number'::text) THEN ((detail -> 'amount'::text))::numeric
            ELSE NULL::numeric
        END AS amount,
    detail
   FROM obol.admin_acts a;

--
-- Name: packages; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.packages (
    package_id text NOT NULL,
    name text NOT NULL,
    price bigint NOT NULL,
    currency text NOT NULL,
    credits bigint NOT NULL,
    lifetime_days bigint,
    is_active boolean NOT NULL,
    changed_at timestamp with time zone NOT NULL,
    CONSTRAINT packages_credits_check CHECK ((credits > 0)),
    CONSTRAINT packages_currency_check CHECK ((currency ~ '^[a-z]{3}$'::text)),
    CONSTRAINT packages_lifetime_days_check CHECK ((lifetime_days > 0)),
    CONSTRAINT packages_price_check CHECK ((price > 0))
);

--
-- Name: TABLE packages; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.packages IS 'What is sold by card: credits, for good or for a time, at a price in the smallest unit of a currency. What was is in the audit trail, and each payment keeps the package as it was.';

--
-- Name: payment_grants; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.payment_grants (
    license_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    is_voided boolean DEFAULT false NOT NULL,
    archived_voided bigint DEFAULT 0 NOT NULL,
    archived_taken bigint DEFAULT 0 NOT NULL
);

--
-- Name: TABLE payment_grants; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.payment_grants IS 'What was given for a payment: the first grant has its id, further ones are what a dispute took and gave back. is_voided: because of the money, and not by an operator.';

--
-- Name: COLUMN payment_grants.archived_voided; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.payment_grants.archived_voided IS 'How much of it archived entries voided, whoever did.';

--
-- Name: COLUMN payment_grants.archived_taken; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON COLUMN obol.payment_grants.archived_taken IS 'How much of it archived entries took in parts, because of the money.';

--
-- Name: payments; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.payments (
    license_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    package_id text NOT NULL,
    name text NOT NULL,
    price bigint NOT NULL,
    currency text NOT NULL,
    credits bigint NOT NULL,
    lifetime_days bigint,
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    state text NOT NULL,
    session_id text,
    checkout_url text,
    expires_at timestamp with time zone NOT NULL,
    payment_intent text,
    refunded bigint DEFAULT 0 NOT NULL,
    disputes jsonb DEFAULT '{}'::jsonb NOT NULL,
    disagreement text,
    created_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    taken_at timestamp with time zone,
    refunds_told jsonb DEFAULT '{}'::jsonb NOT NULL,
    refunds_failed jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT payments_check CHECK (((state = 'paid'::text) = (paid_at IS NOT NULL))),
    CONSTRAINT payments_credits_check CHECK ((credits > 0)),
    CONSTRAINT payments_price_check CHECK ((price > 0)),
    CONSTRAINT payments_refunded_check CHECK ((refunded >= 0)),
    CONSTRAINT payments_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'paid'::text, 'expired'::text])))
);

--
-- Name: TABLE payments; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.payments IS 'Payments by card, each with the package as it was when it was begun. disputes is {id: {"amount", "state"}}, state one of inquiry, open, lost, won, prevented; refunded is what refunds_told, {event id: {"amount", "at"}}, and refunds_failed, {refund id: {"amount", "begun_at", "failed_at"}}, come to; the amounts are money. disagreement is how the last event that was not booked differed.';

--
-- Name: payment_sums; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.payment_sums AS
 SELECT p.license_id,
    p.payment_id,
    d.disputed,
    e.entitled,
    g.kept,
    ((v.voided + g.archived) - g.again) AS taken,
    GREATEST((0)::bigint, (g.kept - e.entitled)) AS owed
   FROM ((((obol.payments p
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum(((s.value ->> 'amount'::text))::bigint), (0)::numeric))::bigint AS disputed
           FROM jsonb_each(p.disputes) s(key, value)
          WHERE ((s.value ->> 'state'::text) = ANY (ARRAY['open'::text, 'lost'::text]))) d)
     CROSS JOIN LATERAL ( SELECT (p.credits - (ceil((((p.credits)::numeric * (LEAST((p.refunded + d.disputed), p.price))::numeric) / (p.price)::numeric)))::bigint) AS entitled) e)
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum((g_1.amount - g_1.lapsed)), (0)::numeric))::bigint AS kept,
            (COALESCE(sum(g_1.amount) FILTER (WHERE (g_1.grant_id <> p.payment_id)), (0)::numeric))::bigint AS again,
            (COALESCE(sum(
                CASE
                    WHEN o.is_voided THEN o.archived_voided
                    ELSE o.archived_taken
                END), (0)::numeric))::bigint AS archived
           FROM (obol.payment_grants o
             JOIN obol.grants g_1 ON (((g_1.license_id = o.license_id) AND (g_1.grant_id = o.grant_id))))
          WHERE ((o.license_id = p.license_id) AND (o.payment_id = p.payment_id))) g)
     CROSS JOIN LATERAL ( SELECT (COALESCE((- sum(l.amount)), (0)::numeric))::bigint AS voided
           FROM (obol.payment_grants o
             JOIN obol.ledger_entries l ON (((l.license_id = o.license_id) AND (l.cause_id = o.grant_id) AND (l.kind = 'void'::text))))
          WHERE ((o.license_id = p.license_id) AND (o.payment_id = p.payment_id) AND (o.is_voided OR (l.reference = ('payment '::text || p.payment_id))))) v);

--
-- Name: price_tiers; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.price_tiers (
    model_pattern text NOT NULL,
    effective_from timestamp with time zone NOT NULL,
    above_input_tokens bigint NOT NULL,
    input bigint NOT NULL,
    output bigint NOT NULL,
    cache_write_5m bigint NOT NULL,
    cache_write_1h bigint NOT NULL,
    cache_read bigint NOT NULL,
    CONSTRAINT price_tiers_above_input_tokens_check CHECK ((above_input_tokens > 0)),
    CONSTRAINT price_tiers_cache_read_check CHECK (((cache_read >= 0) AND (cache_read <= '1000000000000'::bigint))),
    CONSTRAINT price_tiers_cache_write_1h_check CHECK (((cache_write_1h >= 0) AND (cache_write_1h <= '1000000000000'::bigint))),
    CONSTRAINT price_tiers_cache_write_5m_check CHECK (((cache_write_5m >= 0) AND (cache_write_5m <= '1000000000000'::bigint))),
    CONSTRAINT price_tiers_input_check CHECK (((input >= 0) AND (input <= '1000000000000'::bigint))),
    CONSTRAINT price_tiers_output_check CHECK (((output >= 0) AND (output <= '1000000000000'::bigint)))
);

--
-- Name: TABLE price_tiers; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.price_tiers IS 'What a price is when the prompt, cache reads and writes included, has more tokens: the figures for every token of such a call.';

--
-- Name: prices; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.prices (
    model_pattern text NOT NULL,
    effective_from timestamp with time zone NOT NULL,
    input bigint,
    output bigint,
    cache_write_5m bigint,
    cache_write_1h bigint,
    cache_read bigint,
    CONSTRAINT prices_cache_read_check CHECK (((cache_read >= 0) AND (cache_read <= '1000000000000'::bigint))),
    CONSTRAINT prices_cache_write_1h_check CHECK (((cache_write_1h >= 0) AND (cache_write_1h <= '1000000000000'::bigint))),
    CONSTRAINT prices_cache_write_5m_check CHECK (((cache_write_5m >= 0) AND (cache_write_5m <= '1000000000000'::bigint))),
    CONSTRAINT prices_check CHECK ((num_nulls(input, output, cache_write_5m, cache_write_1h, cache_read) = ANY (ARRAY[0, 5]))),
    CONSTRAINT prices_input_check CHECK (((input >= 0) AND (input <= '1000000000000'::bigint))),
    CONSTRAINT prices_model_pattern_check CHECK ((((length(model_pattern) >= 1) AND (length(model_pattern) <= 200)) AND ((POSITION(('*'::text) IN (model_pattern)) = 0) OR (POSITION(('*'::text) IN (model_pattern)) = length(model_pattern))))),
    CONSTRAINT prices_output_check CHECK (((output >= 0) AND (output <= '1000000000000'::bigint)))
);

--
-- Name: TABLE prices; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.prices IS 'The price book: credits per million tokens of each class. A pattern is a model name, or the beginning of one and a *. A row without figures ends its pattern: from then on what it names is not sold.';

--
-- Name: price_book; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.price_book AS
 SELECT model_pattern,
    effective_from,
        CASE
            WHEN (input IS NOT NULL) THEN (jsonb_build_object('input', input, 'output', output, 'cache_write_5m', cache_write_5m, 'cache_write_1h', cache_write_1h, 'cache_read', cache_read) || COALESCE(( SELECT jsonb_build_object('tiers', jsonb_agg(jsonb_build_object('above_input_tokens', t.above_input_tokens, 'input', t.input, 'output', t.output, 'cache_write_5m', t.cache_write_5m, 'cache_write_1h', t.cache_write_1h, 'cache_read', t.cache_read) ORDER BY t.above_input_tokens)) AS jsonb_build_object
               FROM obol.price_tiers t
              WHERE ((t.model_pattern = p.model_pattern) AND (t.effective_from = p.effective_from))
             HAVING (count(*) > 0)), '{}'::jsonb))
            ELSE NULL::jsonb
        END AS price
   FROM obol.prices p;

--
-- Name: processes; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.processes (
    process_id uuid NOT NULL,
    lease_expires_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

--
-- Name: TABLE processes; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.processes IS 'One lease a serving process. When it lapses, any living process releases the holds of the dead one.';

--
-- Name: stripe_events; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.stripe_events (
    license_id uuid NOT NULL,
    event_id text NOT NULL,
    payment_id uuid NOT NULL,
    event_type text NOT NULL,
    booked_at timestamp with time zone NOT NULL
);

--
-- Name: TABLE stripe_events; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.stripe_events IS 'The events of Stripe that were looked at: each once.';

--
-- Name: stripe_intents; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.stripe_intents (
    payment_intent text NOT NULL,
    license_id uuid NOT NULL,
    payment_id uuid NOT NULL
);

--
-- Name: TABLE stripe_intents; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.stripe_intents IS 'Where to look for the payment of a dispute, which names nothing but Stripe''s payment intent. A table of its own, and without a foreign key, for the reasons of external_ids.';

--
-- Name: stripe_secrets; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.stripe_secrets (
    signing_secret bytea NOT NULL,
    created_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT stripe_secrets_signing_secret_check CHECK (((length(signing_secret) >= 16) AND (length(signing_secret) <= 200)))
);

--
-- Name: TABLE stripe_secrets; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.stripe_secrets IS 'The secrets that Stripe signs its events with. Whoever knows one can make credits: no function gives them out, and the service''s login does not read them.';

--
-- Name: undelivered_charges; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.undelivered_charges AS
 SELECT h.license_id,
    h.hold_id,
    (- e.amount) AS charge,
    h.model,
    h.ended_at AS settled_at,
    SUBSTRING(i.answer FROM 1 FOR 8) AS answer_key_id
   FROM ((obol.holds h
     JOIN obol.ledger_entries e ON (((e.license_id = h.license_id) AND (e.kind = 'charge'::text) AND (e.cause_id = h.hold_id))))
     LEFT JOIN obol.idempotency_keys i ON (((i.license_id = h.license_id) AND (i.scope = 'license'::text) AND (i.idempotency_key = h.idempotency_key) AND (i.cause_id = h.hold_id) AND (i.answer IS NOT NULL) AND (i.answer_expires_at > clock_timestamp()))))
  WHERE ((h.state = 'settled'::text) AND (h.process_id IS NOT NULL) AND (h.delivered_at IS NULL) AND (NOT (EXISTS ( SELECT
           FROM obol.ledger_entries r
          WHERE ((r.license_id = h.license_id) AND (r.kind = 'refund'::text) AND (r.cause_id = h.hold_id))))));

--
-- Name: undelivered_holds; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.undelivered_holds AS
 SELECT license_id,
    hold_id,
    charge,
    model,
    settled_at
   FROM obol.undelivered_charges u
  WHERE (answer_key_id IS NULL);

--
-- Name: unpaid_holds; Type: VIEW; Schema: obol; Owner: -
--

CREATE VIEW obol.unpaid_holds AS
 SELECT license_id,
    hold_id,
    model,
    ended_at,
    (unpaid ->> 'reason'::text) AS reason,
    ((unpaid ->> 'events'::text))::bigint AS events,
    ((unpaid ->> 'bytes'::text))::bigint AS bytes,
    ((unpaid ->> 'tokens'::text))::bigint AS tokens
   FROM obol.holds h
  WHERE (unpaid IS NOT NULL);

--
-- Name: usage_rollups; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.usage_rollups (
    license_id uuid NOT NULL,
    day date NOT NULL,
    model text,
    key_id uuid,
    calls bigint NOT NULL,
    credits numeric NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    cache_write_5m_tokens numeric NOT NULL,
    cache_write_1h_tokens numeric NOT NULL,
    cache_read_tokens numeric NOT NULL,
    refunded numeric NOT NULL
);

--
-- Name: TABLE usage_rollups; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.usage_rollups IS 'What the entries of a license up to its watermark say of its usage, by day (UTC), model and key. Only a copy that can be read quickly: roll_up_usage makes it out of entry_usage, and verify compares.';

--
-- Name: usage_watermarks; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.usage_watermarks (
    license_id uuid NOT NULL,
    entry_no bigint NOT NULL,
    CONSTRAINT usage_watermarks_entry_no_check CHECK ((entry_no >= 0))
)
WITH (fillfactor='50');

--
-- Name: TABLE usage_watermarks; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.usage_watermarks IS 'How far the entries of a license are rolled up. A row of its own, so that the background never waits for a charge, nor a charge for it; none: nothing is.';

--
-- Name: verifications; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.verifications (
    is_whole boolean NOT NULL,
    began_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone NOT NULL,
    actor text NOT NULL,
    finding_count bigint NOT NULL
);

--
-- Name: TABLE verifications; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.verifications IS 'The last check of the whole ledger, and the last one of what was new: when, by whom, and how much disagreed.';

--
-- Name: webhooks; Type: TABLE; Schema: obol; Owner: -
--

CREATE TABLE obol.webhooks (
    webhook_id uuid NOT NULL,
    kind text NOT NULL,
    url text NOT NULL,
    name text NOT NULL,
    types text[],
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    paused_at timestamp with time zone,
    paused_because text,
    failing_since timestamp with time zone,
    last_error text,
    deleted_at timestamp with time zone,
    CONSTRAINT webhooks_check CHECK (((paused_at IS NULL) = (paused_because IS NULL))),
    CONSTRAINT webhooks_check1 CHECK (((old_secret IS NULL) = (old_secret_until IS NULL))),
    CONSTRAINT webhooks_kind_check CHECK ((kind = ANY (ARRAY['http'::text, 'email'::text]))),
    CONSTRAINT webhooks_paused_because_check CHECK ((paused_because = ANY (ARRAY['operator'::text, 'failing'::text, 'gone'::text])))
);

--
-- Name: TABLE webhooks; Type: COMMENT; Schema: obol; Owner: -
--

COMMENT ON TABLE obol.webhooks IS 'Where events go. Secrets are sealed under a key that only the service has: the database can sign nothing. types: null for all. The one of all zeros is the e-mail to licenses that have an address.';

--
-- Name: admin_acts admin_acts_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.admin_acts
    ADD CONSTRAINT admin_acts_pkey PRIMARY KEY (act_no);

--
-- Name: admin_tokens admin_tokens_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.admin_tokens
    ADD CONSTRAINT admin_tokens_pkey PRIMARY KEY (token_id);

--
-- Name: admin_tokens admin_tokens_token_digest_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.admin_tokens
    ADD CONSTRAINT admin_tokens_token_digest_key UNIQUE (token_digest);

--
-- Name: alembic_version alembic_version_pkc; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);

--
-- Name: allotments allotments_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.allotments
    ADD CONSTRAINT allotments_pkey PRIMARY KEY (license_id, last_entry_no, grant_id);

--
-- Name: archived_days archived_days_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_days
    ADD CONSTRAINT archived_days_pkey PRIMARY KEY (license_id, day);

--
-- Name: archived_files archived_files_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_files
    ADD CONSTRAINT archived_files_pkey PRIMARY KEY (license_id, last_entry_no);

--
-- Name: archived archived_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived
    ADD CONSTRAINT archived_pkey PRIMARY KEY (license_id);

--
-- Name: archived_usage archived_usage_license_id_day_model_key_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_usage
    ADD CONSTRAINT archived_usage_license_id_day_model_key_id_key UNIQUE NULLS NOT DISTINCT (license_id, day, model, key_id);

--
-- Name: audit_starts audit_starts_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.audit_starts
    ADD CONSTRAINT audit_starts_pkey PRIMARY KEY (license_id);

--
-- Name: business_rollups business_rollups_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.business_rollups
    ADD CONSTRAINT business_rollups_pkey PRIMARY KEY (begins_at);

--
-- Name: deliveries deliveries_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.deliveries
    ADD CONSTRAINT deliveries_pkey PRIMARY KEY (license_id, event_no, webhook_id);

--
-- Name: delivery_queues delivery_queues_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.delivery_queues
    ADD CONSTRAINT delivery_queues_pkey PRIMARY KEY (license_id, webhook_id);

--
-- Name: events events_license_id_type_cause_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.events
    ADD CONSTRAINT events_license_id_type_cause_id_key UNIQUE (license_id, type, cause_id);

--
-- Name: events events_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (license_id, event_no);

--
-- Name: external_ids external_ids_license_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.external_ids
    ADD CONSTRAINT external_ids_license_id_key UNIQUE (license_id);

--
-- Name: external_ids external_ids_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.external_ids
    ADD CONSTRAINT external_ids_pkey PRIMARY KEY (external_id);

--
-- Name: grants grants_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.grants
    ADD CONSTRAINT grants_pkey PRIMARY KEY (license_id, grant_id);

--
-- Name: holds holds_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.holds
    ADD CONSTRAINT holds_pkey PRIMARY KEY (license_id, hold_id);

--
-- Name: idempotency_keys idempotency_keys_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.idempotency_keys
    ADD CONSTRAINT idempotency_keys_pkey PRIMARY KEY (license_id, scope, idempotency_key);

--
-- Name: imported_keys imported_keys_license_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.imported_keys
    ADD CONSTRAINT imported_keys_license_id_key UNIQUE (license_id);

--
-- Name: imported_keys imported_keys_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.imported_keys
    ADD CONSTRAINT imported_keys_pkey PRIMARY KEY (key_digest);

--
-- Name: ledger_entries ledger_entries_license_id_kind_cause_id_part_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.ledger_entries
    ADD CONSTRAINT ledger_entries_license_id_kind_cause_id_part_id_key UNIQUE NULLS NOT DISTINCT (license_id, kind, cause_id, part_id);

--
-- Name: ledger_entries ledger_entries_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.ledger_entries
    ADD CONSTRAINT ledger_entries_pkey PRIMARY KEY (license_id, entry_no);

--
-- Name: license_keys license_keys_license_id_key_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.license_keys
    ADD CONSTRAINT license_keys_license_id_key_id_key UNIQUE (license_id, key_id);

--
-- Name: license_keys license_keys_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.license_keys
    ADD CONSTRAINT license_keys_pkey PRIMARY KEY (license_id, key_digest);

--
-- Name: licenses licenses_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.licenses
    ADD CONSTRAINT licenses_pkey PRIMARY KEY (license_id);

--
-- Name: limit_states limit_states_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.limit_states
    ADD CONSTRAINT limit_states_pkey PRIMARY KEY (license_id, subject_id);

--
-- Name: packages packages_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.packages
    ADD CONSTRAINT packages_pkey PRIMARY KEY (package_id);

--
-- Name: payment_grants payment_grants_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.payment_grants
    ADD CONSTRAINT payment_grants_pkey PRIMARY KEY (license_id, grant_id);

--
-- Name: payments payments_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.payments
    ADD CONSTRAINT payments_pkey PRIMARY KEY (license_id, payment_id);

--
-- Name: price_tiers price_tiers_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.price_tiers
    ADD CONSTRAINT price_tiers_pkey PRIMARY KEY (model_pattern, effective_from, above_input_tokens);

--
-- Name: prices prices_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (model_pattern, effective_from);

--
-- Name: processes processes_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.processes
    ADD CONSTRAINT processes_pkey PRIMARY KEY (process_id);

--
-- Name: stripe_events stripe_events_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.stripe_events
    ADD CONSTRAINT stripe_events_pkey PRIMARY KEY (license_id, event_id);

--
-- Name: stripe_intents stripe_intents_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.stripe_intents
    ADD CONSTRAINT stripe_intents_pkey PRIMARY KEY (payment_intent);

--
-- Name: stripe_secrets stripe_secrets_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.stripe_secrets
    ADD CONSTRAINT stripe_secrets_pkey PRIMARY KEY (signing_secret);

--
-- Name: usage_rollups usage_rollups_license_id_day_model_key_id_key; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.usage_rollups
    ADD CONSTRAINT usage_rollups_license_id_day_model_key_id_key UNIQUE NULLS NOT DISTINCT (license_id, day, model, key_id);

--
-- Name: usage_watermarks usage_watermarks_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.usage_watermarks
    ADD CONSTRAINT usage_watermarks_pkey PRIMARY KEY (license_id);

--
-- Name: verifications verifications_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.verifications
    ADD CONSTRAINT verifications_pkey PRIMARY KEY (is_whole);

--
-- Name: webhooks webhooks_pkey; Type: CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (webhook_id);

--
-- Name: admin_acts_time; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX admin_acts_time ON obol.admin_acts USING brin (acted_at) WITH (autosummarize='on');

--
-- Name: admin_tokens_name; Type: INDEX; Schema: obol; Owner: -
--

CREATE UNIQUE INDEX admin_tokens_name ON obol.admin_tokens USING btree (name) WHERE (revoked_at IS NULL);

--
-- Name: archived_days_day; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX archived_days_day ON obol.archived_days USING btree (day);

--
-- Name: business_rollups_open; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX business_rollups_open ON obol.business_rollups USING btree (begins_at) WHERE (NOT is_final);

--
-- Name: deliveries_failed; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX deliveries_failed ON obol.deliveries USING btree (webhook_id) WHERE (state = 'failed'::text);

--
-- Name: deliveries_waiting; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX deliveries_waiting ON obol.deliveries USING btree (webhook_id, license_id, event_no) WHERE (state = 'waiting'::text);

--
-- Name: delivery_queues_due; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX delivery_queues_due ON obol.delivery_queues USING btree (webhook_id, next_attempt_at) WHERE (next_attempt_at IS NOT NULL);

--
-- Name: events_age; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX events_age ON obol.events USING btree (created_at, event_id);

--
-- Name: events_ids; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX events_ids ON obol.events USING btree (event_id);

--
-- Name: grants_ending; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX grants_ending ON obol.grants USING btree (expires_at) WHERE ((credits_left > 0) AND (expires_at IS NOT NULL) AND (voided_at IS NULL));

--
-- Name: grants_expiring; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX grants_expiring ON obol.grants USING btree (expires_at) WHERE ((credits_left > 0) AND (expires_at IS NOT NULL) AND (voided_at IS NULL) AND (expiry_told_at IS NULL));

--
-- Name: grants_open; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX grants_open ON obol.grants USING btree (license_id) WHERE (credits_left > 0);

--
-- Name: holds_ended; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX holds_ended ON obol.holds USING btree (ended_at) WHERE (state = ANY (ARRAY['released'::text, 'expired'::text]));

--
-- Name: holds_open; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX holds_open ON obol.holds USING btree (process_id, expires_at) WHERE (state = 'held'::text);

--
-- Name: holds_undelivered; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX holds_undelivered ON obol.holds USING btree (ended_at) WHERE ((state = 'settled'::text) AND (process_id IS NOT NULL) AND (delivered_at IS NULL));

--
-- Name: holds_unpaid; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX holds_unpaid ON obol.holds USING btree (ended_at) WHERE (unpaid IS NOT NULL);

--
-- Name: idempotency_keys_age; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX idempotency_keys_age ON obol.idempotency_keys USING btree (claimed_at);

--
-- Name: idempotency_keys_answers; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX idempotency_keys_answers ON obol.idempotency_keys USING btree (answer_expires_at) WHERE (answer_expires_at IS NOT NULL);

--
-- Name: ledger_entries_time; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX ledger_entries_time ON obol.ledger_entries USING brin (created_at) WITH (autosummarize='on');

--
-- Name: license_keys_digest; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX license_keys_digest ON obol.license_keys USING btree (key_digest);

--
-- Name: licenses_changes; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX licenses_changes ON obol.licenses USING btree (next_change_at) WHERE (next_change_at < 'infinity'::timestamp with time zone);

--
-- Name: payment_grants_payment; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX payment_grants_payment ON obol.payment_grants USING btree (license_id, payment_id);

--
-- Name: payments_newest; Type: INDEX; Schema: obol; Owner: -
--

CREATE INDEX payments_newest ON obol.payments USING btree (created_at, payment_id);

--
-- Name: allotments allotments_license_id_grant_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.allotments
    ADD CONSTRAINT allotments_license_id_grant_id_fkey FOREIGN KEY (license_id, grant_id) REFERENCES obol.grants(license_id, grant_id);

--
-- Name: archived_days archived_days_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_days
    ADD CONSTRAINT archived_days_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: archived_files archived_files_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_files
    ADD CONSTRAINT archived_files_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: archived archived_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived
    ADD CONSTRAINT archived_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: archived_usage archived_usage_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.archived_usage
    ADD CONSTRAINT archived_usage_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: audit_starts audit_starts_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.audit_starts
    ADD CONSTRAINT audit_starts_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: deliveries deliveries_license_id_event_no_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.deliveries
    ADD CONSTRAINT deliveries_license_id_event_no_fkey FOREIGN KEY (license_id, event_no) REFERENCES obol.events(license_id, event_no) ON DELETE CASCADE;

--
-- Name: grants grants_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.grants
    ADD CONSTRAINT grants_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: holds holds_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.holds
    ADD CONSTRAINT holds_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: idempotency_keys idempotency_keys_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.idempotency_keys
    ADD CONSTRAINT idempotency_keys_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: ledger_entries ledger_entries_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.ledger_entries
    ADD CONSTRAINT ledger_entries_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: license_keys license_keys_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.license_keys
    ADD CONSTRAINT license_keys_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: limit_states limit_states_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.limit_states
    ADD CONSTRAINT limit_states_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: payment_grants payment_grants_license_id_grant_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.payment_grants
    ADD CONSTRAINT payment_grants_license_id_grant_id_fkey FOREIGN KEY (license_id, grant_id) REFERENCES obol.grants(license_id, grant_id);

--
-- Name: payment_grants payment_grants_license_id_payment_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.payment_grants
    ADD CONSTRAINT payment_grants_license_id_payment_id_fkey FOREIGN KEY (license_id, payment_id) REFERENCES obol.payments(license_id, payment_id);

--
-- Name: payments payments_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.payments
    ADD CONSTRAINT payments_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: price_tiers price_tiers_model_pattern_effective_from_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.price_tiers
    ADD CONSTRAINT price_tiers_model_pattern_effective_from_fkey FOREIGN KEY (model_pattern, effective_from) REFERENCES obol.prices(model_pattern, effective_from) ON DELETE CASCADE;

--
-- Name: stripe_events stripe_events_license_id_payment_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.stripe_events
    ADD CONSTRAINT stripe_events_license_id_payment_id_fkey FOREIGN KEY (license_id, payment_id) REFERENCES obol.payments(license_id, payment_id);

--
-- Name: usage_rollups usage_rollups_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.usage_rollups
    ADD CONSTRAINT usage_rollups_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: usage_watermarks usage_watermarks_license_id_fkey; Type: FK CONSTRAINT; Schema: obol; Owner: -
--

ALTER TABLE ONLY obol.usage_watermarks
    ADD CONSTRAINT usage_watermarks_license_id_fkey FOREIGN KEY (license_id) REFERENCES obol.licenses(license_id);

--
-- Name: SCHEMA obol; Type: ACL; Schema: -; Owner: -
--

GRANT USAGE ON SCHEMA obol TO obol_service;

--
-- Name: FUNCTION adjust_credits(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reason text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.adjust_credits(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reason text) FROM PUBLIC;

--
-- Name: FUNCTION adjust_credits_v2(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.adjust_credits_v2(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.adjust_credits_v2(p_license_id uuid, p_adjustment_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION admissible_amount(p_license_id uuid, p_min_amount bigint, p_amount bigint, p_model text, p_is_priced boolean, p_max_unpaid_tokens bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.admissible_amount(p_license_id uuid, p_min_amount bigint, p_amount bigint, p_model text, p_is_priced boolean, p_max_unpaid_tokens bigint) FROM PUBLIC;

--
-- Name: FUNCTION archivable_through(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.archivable_through(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean) FROM PUBLIC;

--
-- Name: FUNCTION archive_entries(p_license_id uuid, p_last_entry_no bigint, p_file_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.archive_entries(p_license_id uuid, p_last_entry_no bigint, p_file_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;

--
-- Name: FUNCTION archive_lines(p_license_id uuid, p_first bigint, p_last bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.archive_lines(p_license_id uuid, p_first bigint, p_last bigint) FROM PUBLIC;

--
-- Name: FUNCTION arm_alerts(p_license_id uuid, p_balance bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.arm_alerts(p_license_id uuid, p_balance bigint) FROM PUBLIC;

--
-- Name: FUNCTION ask_again(p_what text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.ask_again(p_what text) FROM PUBLIC;

--
-- Name: FUNCTION book_charge(p_hold obol.holds, p_from text, p_charge bigint, p_shortfall bigint, p_entry_no bigint, p_balance_after bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.book_charge(p_hold obol.holds, p_from text, p_charge bigint, p_shortfall bigint, p_entry_no bigint, p_balance_after bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer) FROM PUBLIC;

--
-- Name: FUNCTION book_deduction(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_is_of_key boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.book_deduction(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_is_of_key boolean) FROM PUBLIC;

--
-- Name: FUNCTION book_entry(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_reference text, p_model text, p_price jsonb, p_usage jsonb, p_shortfall bigint, p_key_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.book_entry(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_reference text, p_model text, p_price jsonb, p_usage jsonb, p_shortfall bigint, p_key_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION book_part(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_part_id uuid, p_reference text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.book_part(p_license_id uuid, p_entry_no bigint, p_kind text, p_amount bigint, p_balance_after bigint, p_cause_id uuid, p_part_id uuid, p_reference text) FROM PUBLIC;

--
-- Name: FUNCTION book_stripe_event(p_license_id uuid, p_payload bytea, p_signature text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.book_stripe_event(p_license_id uuid, p_payload bytea, p_signature text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.book_stripe_event(p_license_id uuid, p_payload bytea, p_signature text) TO obol_service;

--
-- Name: FUNCTION bring_up_to_date(p_license_id uuid, p_even_so boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.bring_up_to_date(p_license_id uuid, p_even_so boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.bring_up_to_date(p_license_id uuid, p_even_so boolean) TO obol_service;

--
-- Name: FUNCTION charge_for(p_price jsonb, p_usage jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.charge_for(p_price jsonb, p_usage jsonb) FROM PUBLIC;

--
-- Name: FUNCTION check_active(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_active(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION check_admission(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_max_unpaid_tokens bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_admission(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_max_unpaid_tokens bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.check_admission(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_max_unpaid_tokens bigint) TO obol_service;

--
-- Name: FUNCTION check_key_maker(p_license_id uuid, p_key_digest bytea, p_is_change boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_key_maker(p_license_id uuid, p_key_digest bytea, p_is_change boolean) FROM PUBLIC;

--
-- Name: FUNCTION check_license(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_license(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.check_license(p_license_id uuid, p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION check_license_key(p_license_id uuid, p_key_digest bytea, p_or_at timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_license_key(p_license_id uuid, p_key_digest bytea, p_or_at timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION check_limits(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_limits(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION check_reader(p_license_id uuid, p_digest bytea, p_token_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_reader(p_license_id uuid, p_digest bytea, p_token_digest bytea) FROM PUBLIC;

--
-- Name: FUNCTION check_room(p_license_id uuid, p_amount bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_room(p_license_id uuid, p_amount bigint) FROM PUBLIC;

--
-- Name: FUNCTION check_token(p_token_digest bytea, p_scope text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.check_token(p_token_digest bytea, p_scope text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.check_token(p_token_digest bytea, p_scope text) TO obol_service;

--
-- Name: FUNCTION claim_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_lease_s integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.claim_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_lease_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.claim_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_lease_s integer) TO obol_service;

--
-- Name: FUNCTION claim_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea, p_cause_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.claim_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea, p_cause_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION count_end(p_hold obol.holds, p_credits bigint, p_holds integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.count_end(p_hold obol.holds, p_credits bigint, p_holds integer) FROM PUBLIC;

--
-- Name: FUNCTION count_use(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.count_use(p_license_id uuid, p_key_digest bytea, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer, p_now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION count_waiting(p_with_email boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.count_waiting(p_with_email boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.count_waiting(p_with_email boolean) TO obol_service;

--
-- Name: FUNCTION create_key(p_license_id uuid, p_key_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_key(p_license_id uuid, p_key_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.create_key(p_license_id uuid, p_key_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION create_license(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_fingerprint bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_license(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_fingerprint bytea) FROM PUBLIC;

--
-- Name: FUNCTION create_license_v2(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_external_id text, p_limits jsonb, p_fingerprint bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_license_v2(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_external_id text, p_limits jsonb, p_fingerprint bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.create_license_v2(p_license_id uuid, p_key_digest bytea, p_name text, p_expires_at timestamp with time zone, p_credits bigint, p_external_id text, p_limits jsonb, p_fingerprint bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION create_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_new_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_new_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.create_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_new_digest bytea, p_name text, p_expires_at timestamp with time zone, p_limits jsonb) TO obol_service;

--
-- Name: FUNCTION create_token(p_token_id uuid, p_new_digest bytea, p_name text, p_scopes text[], p_expires_at timestamp with time zone, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_token(p_token_id uuid, p_new_digest bytea, p_name text, p_scopes text[], p_expires_at timestamp with time zone, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.create_token(p_token_id uuid, p_new_digest bytea, p_name text, p_scopes text[], p_expires_at timestamp with time zone, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION create_webhook(p_webhook_id uuid, p_url text, p_name text, p_types text[], p_secret bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.create_webhook(p_webhook_id uuid, p_url text, p_name text, p_types text[], p_secret bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.create_webhook(p_webhook_id uuid, p_url text, p_name text, p_types text[], p_secret bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION current_revision(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.current_revision() FROM PUBLIC;
GRANT ALL ON FUNCTION obol.current_revision() TO obol_service;

--
-- Name: FUNCTION deduct(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.deduct(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.deduct(p_license_id uuid, p_key_digest bytea, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text) TO obol_service;

--
-- Name: FUNCTION deduct_batch(p_license_ids uuid[], p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[], p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.deduct_batch(p_license_ids uuid[], p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[], p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.deduct_batch(p_license_ids uuid[], p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[], p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION deduct_credits(license_key text, amount bigint, reference text, idempotency_key text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.deduct_credits(license_key text, amount bigint, reference text, idempotency_key text) FROM PUBLIC;

--
-- Name: FUNCTION deduct_several(p_license_id uuid, p_key_digest bytea, p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[]); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.deduct_several(p_license_id uuid, p_key_digest bytea, p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[]) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.deduct_several(p_license_id uuid, p_key_digest bytea, p_deduction_ids uuid[], p_amounts bigint[], p_idempotency_keys text[], p_fingerprints bytea[], p_references text[]) TO obol_service;

--
-- Name: FUNCTION deduct_v2(p_license_id uuid, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.deduct_v2(p_license_id uuid, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.deduct_v2(p_license_id uuid, p_deduction_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION delete_webhook(p_webhook_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.delete_webhook(p_webhook_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.delete_webhook(p_webhook_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION describe_grants(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.describe_grants(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION describe_limits(p_license_id uuid, p_key_digest bytea, p_now timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.describe_limits(p_license_id uuid, p_key_digest bytea, p_now timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION digest_acts(p_after bigint, p_through bigint, p_blocks integer, p_state bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.digest_acts(p_after bigint, p_through bigint, p_blocks integer, p_state bytea) FROM PUBLIC;

--
-- Name: FUNCTION digest_entries(p_license_id uuid, p_after bigint, p_through bigint, p_blocks integer, p_state bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.digest_entries(p_license_id uuid, p_after bigint, p_through bigint, p_blocks integer, p_state bytea) FROM PUBLIC;

--
-- Name: FUNCTION disagreement_of(p_payment jsonb, p_object jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.disagreement_of(p_payment jsonb, p_object jsonb) FROM PUBLIC;

--
-- Name: FUNCTION dispute_state(p_type text, p_object jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.dispute_state(p_type text, p_object jsonb) FROM PUBLIC;

--
-- Name: FUNCTION due_archives(p_before timestamp with time zone, p_after uuid, p_limit integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_archives(p_before timestamp with time zone, p_after uuid, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION due_changes(p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_changes(p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_changes(p_most integer) TO obol_service;

--
-- Name: FUNCTION due_deliveries(p_most integer, p_with_email boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_deliveries(p_most integer, p_with_email boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_deliveries(p_most integer, p_with_email boolean) TO obol_service;

--
-- Name: FUNCTION due_expiring(p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_expiring(p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_expiring(p_most integer) TO obol_service;

--
-- Name: FUNCTION due_holds(p_process_id uuid, p_live_holds uuid[], p_orphans_before timestamp with time zone, p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_holds(p_process_id uuid, p_live_holds uuid[], p_orphans_before timestamp with time zone, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_holds(p_process_id uuid, p_live_holds uuid[], p_orphans_before timestamp with time zone, p_most integer) TO obol_service;

--
-- Name: FUNCTION due_owed(p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_owed(p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_owed(p_most integer) TO obol_service;

--
-- Name: FUNCTION due_rollups(p_least integer, p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_rollups(p_least integer, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_rollups(p_least integer, p_most integer) TO obol_service;

--
-- Name: FUNCTION due_rollups_v2(p_least integer, p_most integer, p_within_s integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_rollups_v2(p_least integer, p_most integer, p_within_s integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_rollups_v2(p_least integer, p_most integer, p_within_s integer) TO obol_service;

--
-- Name: FUNCTION due_undelivered(p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.due_undelivered(p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.due_undelivered(p_most integer) TO obol_service;

--
-- Name: FUNCTION end_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_is_delivered boolean, p_status integer, p_error text, p_retry_after_s integer, p_is_final boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.end_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_is_delivered boolean, p_status integer, p_error text, p_retry_after_s integer, p_is_final boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.end_delivery(p_license_id uuid, p_webhook_id uuid, p_claim_id uuid, p_is_delivered boolean, p_status integer, p_error text, p_retry_after_s integer, p_is_final boolean) TO obol_service;

--
-- Name: FUNCTION end_package(p_package_id text, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.end_package(p_package_id text, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.end_package(p_package_id text, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION entry_span(p_license_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.entry_span(p_license_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.entry_span(p_license_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION expire_holds(p_license_id uuid, p_hold_ids uuid[]); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.expire_holds(p_license_id uuid, p_hold_ids uuid[]) TO obol_service;

--
-- Name: FUNCTION expire_holds_v2(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.expire_holds_v2(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.expire_holds_v2(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) TO obol_service;

--
-- Name: FUNCTION find_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.find_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION find_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.find_idempotency_key(p_license_id uuid, p_scope text, p_idempotency_key text, p_fingerprint bytea) FROM PUBLIC;

--
-- Name: FUNCTION find_imported_key(p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.find_imported_key(p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.find_imported_key(p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION find_license(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.find_license(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.find_license(p_license_id uuid, p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION find_stripe_intent(p_payment_intent text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.find_stripe_intent(p_payment_intent text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.find_stripe_intent(p_payment_intent text) TO obol_service;

--
-- Name: FUNCTION free_idempotency_key(p_hold obol.holds); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.free_idempotency_key(p_hold obol.holds) FROM PUBLIC;

--
-- Name: FUNCTION give_back(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reference text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.give_back(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reference text) FROM PUBLIC;

--
-- Name: FUNCTION give_for_payment(p_license_id uuid, p_payment_id uuid, p_grant_id uuid, p_amount bigint, p_lifetime interval, p_actor text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.give_for_payment(p_license_id uuid, p_payment_id uuid, p_grant_id uuid, p_amount bigint, p_lifetime interval, p_actor text) FROM PUBLIC;

--
-- Name: FUNCTION grant_credits(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.grant_credits(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_idempotency_key text, p_fingerprint bytea, p_reference text) FROM PUBLIC;

--
-- Name: FUNCTION grant_credits_v2(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_priority integer, p_starts_at timestamp with time zone, p_expires_at timestamp with time zone, p_reason text, p_reference text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.grant_credits_v2(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_priority integer, p_starts_at timestamp with time zone, p_expires_at timestamp with time zone, p_reason text, p_reference text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.grant_credits_v2(p_license_id uuid, p_grant_id uuid, p_amount bigint, p_priority integer, p_starts_at timestamp with time zone, p_expires_at timestamp with time zone, p_reason text, p_reference text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION heartbeat(p_process_id uuid, p_lease_s double precision); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.heartbeat(p_process_id uuid, p_lease_s double precision) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.heartbeat(p_process_id uuid, p_lease_s double precision) TO obol_service;

--
-- Name: FUNCTION hmac_sha256(p_key bytea, p_message bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.hmac_sha256(p_key bytea, p_message bytea) FROM PUBLIC;

--
-- Name: FUNCTION import_license(p_license_id uuid, p_key_digest bytea, p_credits bigint, p_status text, p_expires_at timestamp with time zone, p_external_id text, p_name text, p_dry_run boolean, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.import_license(p_license_id uuid, p_key_digest bytea, p_credits bigint, p_status text, p_expires_at timestamp with time zone, p_external_id text, p_name text, p_dry_run boolean, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.import_license(p_license_id uuid, p_key_digest bytea, p_credits bigint, p_status text, p_expires_at timestamp with time zone, p_external_id text, p_name text, p_dry_run boolean, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION is_signed_by_stripe(p_payload bytea, p_signature text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.is_signed_by_stripe(p_payload bytea, p_signature text) FROM PUBLIC;

--
-- Name: FUNCTION keep_sums(p_license_id uuid, p_first bigint, p_last bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.keep_sums(p_license_id uuid, p_first bigint, p_last bigint) FROM PUBLIC;

--
-- Name: FUNCTION list_acts(p_before bigint, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_acts(p_before bigint, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_acts(p_before bigint, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_all_payments(p_only_owed boolean, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_all_payments(p_only_owed boolean, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_all_payments(p_only_owed boolean, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_archive_files(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_archive_files(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION list_archived(p_after uuid, p_limit integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_archived(p_after uuid, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION list_draws(p_license_id uuid, p_cause_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_draws(p_license_id uuid, p_cause_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION list_entries(p_license_id uuid, p_key_digest bytea, p_before bigint, p_limit integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_entries(p_license_id uuid, p_key_digest bytea, p_before bigint, p_limit integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_entries(p_license_id uuid, p_key_digest bytea, p_before bigint, p_limit integer) TO obol_service;

--
-- Name: FUNCTION list_entries_v2(p_license_id uuid, p_kind text, p_model text, p_key_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_after bigint, p_before bigint, p_limit integer, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_entries_v2(p_license_id uuid, p_kind text, p_model text, p_key_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_after bigint, p_before bigint, p_limit integer, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_entries_v2(p_license_id uuid, p_kind text, p_model text, p_key_id uuid, p_from timestamp with time zone, p_to timestamp with time zone, p_after bigint, p_before bigint, p_limit integer, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_events(p_only uuid, p_type text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_events(p_only uuid, p_type text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_events(p_only uuid, p_type text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_grants(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_grants(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_grants(p_license_id uuid, p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION list_grants_of(p_license_id uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_grants_of(p_license_id uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_grants_of(p_license_id uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_heads(p_after uuid, p_limit integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_heads(p_after uuid, p_limit integer) FROM PUBLIC;

--
-- Name: FUNCTION list_holds(p_state text, p_only uuid, p_key_ids bytea[], p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_holds(p_state text, p_only uuid, p_key_ids bytea[], p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_holds(p_state text, p_only uuid, p_key_ids bytea[], p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_keys(p_license_id uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_keys(p_license_id uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_keys(p_license_id uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_licenses(p_query text, p_status text, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_licenses(p_query text, p_status text, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_licenses(p_query text, p_status text, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_limits(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_limits(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;

--
-- Name: FUNCTION list_newest_licenses(p_query text, p_status text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_newest_licenses(p_query text, p_status text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_newest_licenses(p_query text, p_status text, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_open_grants(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_open_grants(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION list_own_keys(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_own_keys(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_own_keys(p_license_id uuid, p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION list_packages(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_packages() FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_packages() TO obol_service;

--
-- Name: FUNCTION list_payments(p_license_id uuid, p_digest bytea, p_only uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_payments(p_license_id uuid, p_digest bytea, p_only uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_payments(p_license_id uuid, p_digest bytea, p_only uuid, p_before_at timestamp with time zone, p_before_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_prices(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_prices() FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_prices() TO obol_service;

--
-- Name: FUNCTION list_processes(p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_processes(p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_processes(p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_thresholds(p_alerts jsonb, p_base bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_thresholds(p_alerts jsonb, p_base bigint) FROM PUBLIC;

--
-- Name: FUNCTION list_tokens(p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_tokens(p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_tokens(p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_verifications(p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_verifications(p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_verifications(p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION list_webhooks(p_only uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.list_webhooks(p_only uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.list_webhooks(p_only uuid, p_after_at timestamp with time zone, p_after_id uuid, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION lock_license(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.lock_license(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION merge_limits(p_license_id uuid, p_limits jsonb, p_change jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.merge_limits(p_license_id uuid, p_limits jsonb, p_change jsonb) FROM PUBLIC;

--
-- Name: FUNCTION next_threshold(p_alerts jsonb, p_base bigint, p_balance bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.next_threshold(p_alerts jsonb, p_base bigint, p_balance bigint) FROM PUBLIC;

--
-- Name: FUNCTION note_act(p_license_id uuid, p_actor text, p_act text, p_target text, p_detail jsonb, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_act(p_license_id uuid, p_actor text, p_act text, p_target text, p_detail jsonb, p_request_id text) FROM PUBLIC;

--
-- Name: FUNCTION note_balance(p_license_id uuid, p_balance bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_balance(p_license_id uuid, p_balance bigint) FROM PUBLIC;

--
-- Name: FUNCTION note_checkout(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_session_id text, p_checkout_url text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_checkout(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_session_id text, p_checkout_url text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.note_checkout(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_session_id text, p_checkout_url text) TO obol_service;

--
-- Name: FUNCTION note_deliveries(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_deliveries(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.note_deliveries(p_license_id uuid, p_hold_ids uuid[], p_process_id uuid) TO obol_service;

--
-- Name: FUNCTION note_refund(p_license_id uuid, p_payment_id uuid, p_event jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_refund(p_license_id uuid, p_payment_id uuid, p_event jsonb) FROM PUBLIC;

--
-- Name: FUNCTION note_stripe_state(p_license_id uuid, p_payment_id uuid, p_type text, p_object jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_stripe_state(p_license_id uuid, p_payment_id uuid, p_type text, p_object jsonb) FROM PUBLIC;

--
-- Name: FUNCTION note_verification(p_is_whole boolean, p_began_at timestamp with time zone, p_finding_count bigint, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_verification(p_is_whole boolean, p_began_at timestamp with time zone, p_finding_count bigint, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.note_verification(p_is_whole boolean, p_began_at timestamp with time zone, p_finding_count bigint, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.note_webhook(p_webhook_id uuid, p_error text, p_is_gone boolean) TO obol_service;

--
-- Name: FUNCTION open_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_min_amount bigint, p_expires_in_s integer, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_max_unpaid_tokens bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.open_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_min_amount bigint, p_expires_in_s integer, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_max_unpaid_tokens bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.open_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_min_amount bigint, p_expires_in_s integer, p_model text, p_price jsonb, p_idempotency_key text, p_fingerprint bytea, p_reference text, p_max_unpaid_tokens bigint) TO obol_service;

--
-- Name: FUNCTION open_payment(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_package_id text, p_success_url text, p_cancel_url text, p_idempotency_key text, p_fingerprint bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.open_payment(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_package_id text, p_success_url text, p_cancel_url text, p_idempotency_key text, p_fingerprint bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.open_payment(p_license_id uuid, p_digest bytea, p_payment_id uuid, p_package_id text, p_success_url text, p_cancel_url text, p_idempotency_key text, p_fingerprint bytea) TO obol_service;

--
-- Name: FUNCTION overview(p_from date, p_to date, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.overview(p_from date, p_to date, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.overview(p_from date, p_to date, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION pause_webhook(p_webhook_id uuid, p_is_paused boolean, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.pause_webhook(p_webhook_id uuid, p_is_paused boolean, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.pause_webhook(p_webhook_id uuid, p_is_paused boolean, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION prepare_archive(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.prepare_archive(p_license_id uuid, p_before timestamp with time zone, p_most integer, p_with_undelivered boolean, p_token_digest bytea, p_request_id text) FROM PUBLIC;

--
-- Name: FUNCTION purge_events(p_batch_size integer, p_days integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.purge_events(p_batch_size integer, p_days integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.purge_events(p_batch_size integer, p_days integer) TO obol_service;

--
-- Name: FUNCTION purge_expired(p_batch_size integer, p_key_days integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.purge_expired(p_batch_size integer, p_key_days integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.purge_expired(p_batch_size integer, p_key_days integer) TO obol_service;

--
-- Name: FUNCTION queue_delivery(p_license_id uuid, p_event_no bigint, p_webhook_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.queue_delivery(p_license_id uuid, p_event_no bigint, p_webhook_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION recent_licenses(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.recent_licenses(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION refund(p_license_id uuid, p_cause_id uuid, p_reference text, p_withheld boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refund(p_license_id uuid, p_cause_id uuid, p_reference text, p_withheld boolean) FROM PUBLIC;

--
-- Name: FUNCTION refund_v2(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refund_v2(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.refund_v2(p_license_id uuid, p_cause_id uuid, p_refund_id uuid, p_amount bigint, p_reason text, p_idempotency_key text, p_fingerprint bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION refund_withheld(p_license_id uuid, p_hold_id uuid, p_process_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refund_withheld(p_license_id uuid, p_hold_id uuid, p_process_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.refund_withheld(p_license_id uuid, p_hold_id uuid, p_process_id uuid) TO obol_service;

--
-- Name: FUNCTION refundable(p_license_id uuid, p_cause_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refundable(p_license_id uuid, p_cause_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION refuse_amount(p_name text, p_least integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refuse_amount(p_name text, p_least integer) FROM PUBLIC;

--
-- Name: FUNCTION refuse_archived(p_license_id uuid, p_cause_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refuse_archived(p_license_id uuid, p_cause_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION refuse_hold(p_hold obol.holds, p_amount bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refuse_hold(p_hold obol.holds, p_amount bigint) FROM PUBLIC;

--
-- Name: FUNCTION refuse_key(p_license_id uuid, p_key_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refuse_key(p_license_id uuid, p_key_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION refuse_license(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.refuse_license(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION register_first_token(p_token_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.register_first_token(p_token_digest bytea) FROM PUBLIC;

--
-- Name: FUNCTION release_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_unpaid jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.release_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_unpaid jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.release_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_unpaid jsonb) TO obol_service;

--
-- Name: FUNCTION replay_events(p_webhook_id uuid, p_event_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.replay_events(p_webhook_id uuid, p_event_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.replay_events(p_webhook_id uuid, p_event_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION replay_hold(p_license_id uuid, p_hold_id uuid, p_idempotency_key text, p_fingerprint bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.replay_hold(p_license_id uuid, p_hold_id uuid, p_idempotency_key text, p_fingerprint bytea) FROM PUBLIC;

--
-- Name: FUNCTION revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.revoke_key(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION revoke_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.revoke_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.revoke_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid) TO obol_service;

--
-- Name: FUNCTION revoke_token(p_token_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.revoke_token(p_token_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.revoke_token(p_token_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION roll_up_business(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.roll_up_business() FROM PUBLIC;
GRANT ALL ON FUNCTION obol.roll_up_business() TO obol_service;

--
-- Name: FUNCTION roll_up_usage(p_license_id uuid, p_most integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.roll_up_usage(p_license_id uuid, p_most integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.roll_up_usage(p_license_id uuid, p_most integer) TO obol_service;

--
-- Name: FUNCTION rotate_license_key(p_license_id uuid, p_key_digest bytea, p_overlap_s integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.rotate_license_key(p_license_id uuid, p_key_digest bytea, p_overlap_s integer) FROM PUBLIC;

--
-- Name: FUNCTION rotate_license_key_v2(p_license_id uuid, p_key_digest bytea, p_overlap_s integer, p_key_id uuid, p_only_key_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.rotate_license_key_v2(p_license_id uuid, p_key_digest bytea, p_overlap_s integer, p_key_id uuid, p_only_key_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.rotate_license_key_v2(p_license_id uuid, p_key_digest bytea, p_overlap_s integer, p_key_id uuid, p_only_key_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION rotate_webhook(p_webhook_id uuid, p_secret bytea, p_overlap_s integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.rotate_webhook(p_webhook_id uuid, p_secret bytea, p_overlap_s integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.rotate_webhook(p_webhook_id uuid, p_secret bytea, p_overlap_s integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_alerts(p_license_id uuid, p_alerts jsonb, p_email text, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_alerts(p_license_id uuid, p_alerts jsonb, p_email text, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_alerts(p_license_id uuid, p_alerts jsonb, p_email text, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_key(p_license_id uuid, p_key_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_limits jsonb, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_key(p_license_id uuid, p_key_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_limits jsonb, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_key(p_license_id uuid, p_key_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_limits jsonb, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_license(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_license(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean) FROM PUBLIC;

--
-- Name: FUNCTION set_license_status(p_license_id uuid, p_status text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_license_status(p_license_id uuid, p_status text) FROM PUBLIC;

--
-- Name: FUNCTION set_license_v2(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_status text, p_limits jsonb, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_license_v2(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_status text, p_limits jsonb, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_license_v2(p_license_id uuid, p_name text, p_expires_at timestamp with time zone, p_allow_past boolean, p_status text, p_limits jsonb, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_name text, p_limits jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_name text, p_limits jsonb) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_own_key(p_license_id uuid, p_key_digest bytea, p_key_id uuid, p_name text, p_limits jsonb) TO obol_service;

--
-- Name: FUNCTION set_own_keys(p_license_id uuid, p_most integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_own_keys(p_license_id uuid, p_most integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_own_keys(p_license_id uuid, p_most integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_package(p_package_id text, p_name text, p_price bigint, p_currency text, p_credits bigint, p_lifetime_days bigint, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_package(p_package_id text, p_name text, p_price bigint, p_currency text, p_credits bigint, p_lifetime_days bigint, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_package(p_package_id text, p_name text, p_price bigint, p_currency text, p_credits bigint, p_lifetime_days bigint, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_packages(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_packages(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_packages(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_prices(p_rows jsonb, p_dry_run boolean); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_prices(p_rows jsonb, p_dry_run boolean) FROM PUBLIC;

--
-- Name: FUNCTION set_prices_v2(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_prices_v2(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.set_prices_v2(p_rows jsonb, p_dry_run boolean, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION set_stripe_secret(p_signing_secret bytea, p_overlap_s bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.set_stripe_secret(p_signing_secret bytea, p_overlap_s bigint) FROM PUBLIC;

--
-- Name: FUNCTION settle_acts(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.settle_acts() FROM PUBLIC;

--
-- Name: FUNCTION settle_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer, p_max_credits bigint); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.settle_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer, p_max_credits bigint) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.settle_hold(p_license_id uuid, p_key_digest bytea, p_hold_id uuid, p_process_id uuid, p_amount bigint, p_usage jsonb, p_answer bytea, p_answer_ttl_s integer, p_max_credits bigint) TO obol_service;

--
-- Name: FUNCTION show_alerts(p_license_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_alerts(p_license_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_alerts(p_license_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_archived(p_license_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_archived(p_license_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_archived(p_license_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_balances(p_license_id uuid, p_from date, p_to date, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_balances(p_license_id uuid, p_from date, p_to date, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_balances(p_license_id uuid, p_from date, p_to date, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_license(p_license_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_license(p_license_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_limits(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_limits(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_limits(p_license_id uuid, p_key_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_own_limits(p_license_id uuid, p_key_digest bytea); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_own_limits(p_license_id uuid, p_key_digest bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_own_limits(p_license_id uuid, p_key_digest bytea) TO obol_service;

--
-- Name: FUNCTION show_receipt(p_license_id uuid, p_cause_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_receipt(p_license_id uuid, p_cause_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_receipt(p_license_id uuid, p_cause_id uuid, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION show_sums(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_sums(p_license_id uuid) FROM PUBLIC;

--
-- Name: FUNCTION show_usage(p_license_id uuid, p_from date, p_to date, p_by_day boolean, p_by_model boolean, p_by_key boolean, p_digest bytea, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.show_usage(p_license_id uuid, p_from date, p_to date, p_by_day boolean, p_by_model boolean, p_by_key boolean, p_digest bytea, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.show_usage(p_license_id uuid, p_from date, p_to date, p_by_day boolean, p_by_model boolean, p_by_key boolean, p_digest bytea, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION square_payment(p_license_id uuid, p_payment_id uuid, p_event_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.square_payment(p_license_id uuid, p_payment_id uuid, p_event_id text) FROM PUBLIC;

--
-- Name: FUNCTION sum_expiring(p_before timestamp with time zone, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.sum_expiring(p_before timestamp with time zone, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.sum_expiring(p_before timestamp with time zone, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION sum_refunds(p_told jsonb, p_failed jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.sum_refunds(p_told jsonb, p_failed jsonb) FROM PUBLIC;

--
-- Name: FUNCTION take_back_owed(p_license_id uuid, p_payment_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.take_back_owed(p_license_id uuid, p_payment_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.take_back_owed(p_license_id uuid, p_payment_id uuid) TO obol_service;

--
-- Name: FUNCTION tell_expiring(p_license_id uuid); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.tell_expiring(p_license_id uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.tell_expiring(p_license_id uuid) TO obol_service;

--
-- Name: FUNCTION tell_undelivered(p_license_id uuid, p_hold_ids uuid[]); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.tell_undelivered(p_license_id uuid, p_hold_ids uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.tell_undelivered(p_license_id uuid, p_hold_ids uuid[]) TO obol_service;

--
-- Name: FUNCTION tell_upstream_refusal(p_status integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.tell_upstream_refusal(p_status integer) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.tell_upstream_refusal(p_status integer) TO obol_service;

--
-- Name: FUNCTION use_key(p_license_id uuid, p_key_digest bytea, p_is_of_key boolean, p_limits jsonb, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.use_key(p_license_id uuid, p_key_digest bytea, p_is_of_key boolean, p_limits jsonb, p_model text, p_amount bigint, p_min_amount bigint, p_holds integer) FROM PUBLIC;

--
-- Name: FUNCTION utc(p_moment timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.utc(p_moment timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;

--
-- Name: FUNCTION verify_acts(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_acts() FROM PUBLIC;

--
-- Name: FUNCTION verify_archived(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_archived() FROM PUBLIC;

--
-- Name: FUNCTION verify_business(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_business() FROM PUBLIC;

--
-- Name: FUNCTION verify_events(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_events() FROM PUBLIC;

--
-- Name: FUNCTION verify_grants(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_grants() FROM PUBLIC;

--
-- Name: FUNCTION verify_holds(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_holds() FROM PUBLIC;

--
-- Name: FUNCTION verify_idempotency(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_idempotency() FROM PUBLIC;

--
-- Name: FUNCTION verify_imported_keys(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_imported_keys() FROM PUBLIC;

--
-- Name: FUNCTION verify_ledger(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_ledger() FROM PUBLIC;

--
-- Name: FUNCTION verify_licenses(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_licenses() FROM PUBLIC;

--
-- Name: FUNCTION verify_limits(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_limits() FROM PUBLIC;

--
-- Name: FUNCTION verify_payments(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_payments() FROM PUBLIC;

--
-- Name: FUNCTION verify_recent_acts(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_recent_acts(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_recent_grants(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_recent_grants(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_recent_holds(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_recent_holds(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_recent_ledger(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_recent_ledger(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_recent_licenses(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_recent_licenses(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_since(p_since timestamp with time zone); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_since(p_since timestamp with time zone) FROM PUBLIC;

--
-- Name: FUNCTION verify_usage(); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_usage() FROM PUBLIC;

--
-- Name: FUNCTION verify_v2(p_since timestamp with time zone, p_limit integer, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.verify_v2(p_since timestamp with time zone, p_limit integer, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.verify_v2(p_since timestamp with time zone, p_limit integer, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION void_grant(p_license_id uuid, p_grant_id uuid, p_token_digest bytea, p_request_id text); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.void_grant(p_license_id uuid, p_grant_id uuid, p_token_digest bytea, p_request_id text) FROM PUBLIC;
GRANT ALL ON FUNCTION obol.void_grant(p_license_id uuid, p_grant_id uuid, p_token_digest bytea, p_request_id text) TO obol_service;

--
-- Name: FUNCTION write_event(p_license_id uuid, p_type text, p_cause_id uuid, p_data jsonb); Type: ACL; Schema: obol; Owner: -
--

REVOKE ALL ON FUNCTION obol.write_event(p_license_id uuid, p_type text, p_cause_id uuid, p_data jsonb) FROM PUBLIC;

--
-- PostgreSQL database dump complete
--
