-- Without this migration nothing knows that entries are in files, and the tables would not add up.
DO $$
BEGIN
    IF EXISTS (SELECT FROM obol.archived) THEN
        RAISE EXCEPTION 'entries are archived: the migration before this one does not know where they are'
            USING HINT = 'Restore a backup of before `obol archive`, or stay at this migration.';
    END IF;
END
$$;

-- What has other columns now goes first.
DROP FUNCTION obol.list_heads;

-- What this migration replaced, as the migrations before it had it.

-- Which entries of a license may be of a time (p_from: from then on; p_to: before; null: whenever): those numbered above
-- after_no, up to through_no, the newest one as of now. Found by halving, because entries are numbered in the order of
-- their times; for the hour that the clocks of two database servers may differ by, there are some more.
-- Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.entry_span(
    p_license_id uuid,
    p_from timestamptz,
    p_to timestamptz,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (after_no bigint, through_no bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_bounds bigint[];
    v_count bigint;
    v_low bigint;
    v_high bigint;
    v_middle bigint;
    v_at timestamptz;
    v_is_before boolean;
BEGIN
    PERFORM obol.check_reader(p_license_id, p_digest, p_token_digest);
    SELECT l.entry_count INTO v_count FROM obol.licenses l WHERE l.license_id = p_license_id;
    FOREACH v_at IN ARRAY ARRAY[COALESCE(p_from, '-infinity') - interval '1 hour',
                                COALESCE(p_to, 'infinity') + interval '1 hour'] LOOP
        -- The last entry before v_at is in [v_low, v_high]; 0: there is none.
        v_low := 0;
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

REVOKE ALL ON FUNCTION obol.entry_span(uuid, timestamptz, timestamptz, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.entry_span(uuid, timestamptz, timestamptz, bytea, bytea, text) TO obol_service;

-- How many entries licenses have, sorted by id after p_after (null: from the first), at most p_limit; and
-- up to which entry there was no audit trail.
CREATE OR REPLACE FUNCTION obol.list_heads(p_after uuid, p_limit integer)
RETURNS TABLE (license_id uuid, entries bigint, unaudited bigint)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT l.license_id, l.entry_count, COALESCE(s.entry_no, 0)
          FROM obol.licenses l
          LEFT JOIN obol.audit_starts s ON s.license_id = l.license_id
         WHERE p_after IS NULL OR l.license_id > p_after
         ORDER BY l.license_id
         LIMIT p_limit;
END
$$;

REVOKE ALL ON FUNCTION obol.list_heads(uuid, integer) FROM PUBLIC;

-- What is kept of the business by time, compared with the entries that it was counted from, where it was counted for
-- good: see verify.
CREATE OR REPLACE FUNCTION obol.verify_business()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT NULL::uuid, 'the business by time is what its entries say',
           format('from %s on: %s credits of changes and %s of charges too many, or others of its figures differ',
                  d.begins_at, sum(d.total), sum(d.charged))
      FROM (SELECT r.begins_at, r.total, r.granted, r.charged, r.refunded, r.expired, r.voided, r.adjusted, r.shortfall
              FROM obol.business_rollups r
             WHERE r.is_final
            UNION ALL
            SELECT e.begins_at, -sum(e.total), -sum(e.granted), -sum(e.charged), -sum(e.refunded), -sum(e.expired),
                   -sum(e.voided), -sum(e.adjusted), -sum(e.shortfall)
              FROM obol.entry_business e
             WHERE e.begins_at <= (SELECT max(r.begins_at) FROM obol.business_rollups r WHERE r.is_final)
             GROUP BY e.begins_at) d
     GROUP BY d.begins_at
    HAVING sum(d.total) <> 0 OR sum(d.granted) <> 0 OR sum(d.charged) <> 0 OR sum(d.refunded) <> 0
        OR sum(d.expired) <> 0 OR sum(d.voided) <> 0 OR sum(d.adjusted) <> 0 OR sum(d.shortfall) <> 0
$$;

REVOKE ALL ON FUNCTION obol.verify_business() FROM PUBLIC;

-- Gives back what a charge or a deduction took, whole and once, as the release 0.1.0 did: the same
-- again gives the first result. p_withheld is the case of refund_withheld, an answer that was charged
-- for and not delivered: nothing is refunded while the answer is stored for a retry with its
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

REVOKE ALL ON FUNCTION obol.refund(uuid, uuid, text, boolean) FROM PUBLIC;

-- Gives back what a charge or a deduction took: p_amount of it, or all that has not come back yet
-- (null). Never more than was taken, in all parts together. Once per refund id, and once per
-- idempotency key of the operator: the same again gives the first result, and so does a whole refund
-- of what has come back whole. balance is the one after the refund; lapsed of it came from grants that
-- had ended, and is gone again, as soon as no hold covers it.
-- Errors, in order: ADMIN_FORBIDDEN (scope grant), INVALID_LICENSE (no such license),
-- IDEMPOTENCY_KEY_REUSED, HOLD_NOT_FOUND, INVALID_AMOUNT, REFUND_EXCEEDS_CHARGE; 40001: ask again.
CREATE OR REPLACE FUNCTION obol.refund_v2(
    p_license_id uuid,
    p_cause_id uuid,
    p_refund_id uuid,
    p_amount bigint,
    p_reason text,
    p_idempotency_key text,
    p_fingerprint bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (refund_id uuid, amount bigint, balance bigint, lapsed bigint)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
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

REVOKE ALL ON FUNCTION obol.refund_v2(uuid, uuid, uuid, bigint, text, text, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.refund_v2(uuid, uuid, uuid, bigint, text, text, bytea, bytea, text) TO obol_service;

-- The receipt of a charge (p_cause_id: its hold) or of a deduction: what was taken and for what; what it drew on, a list
-- of {"grant_id", "amount"}, the first that burnt first, null for an entry of before grants had lifetimes; and what
-- has come back, a list of {"refund_id", "entry_no", "amount", "reference", "created_at"}. hold_amount and the times of the
-- hold are null for a deduction. An open or released hold has no receipt.
-- Errors: see check_reader; HOLD_NOT_FOUND.
CREATE OR REPLACE FUNCTION obol.show_receipt(
    p_license_id uuid,
    p_cause_id uuid,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (cause_id uuid, kind text, entry_no bigint, charged bigint, shortfall bigint, balance_after bigint,
                 reference text, model text, key_id uuid, price jsonb, usage jsonb, created_at timestamptz, hold_amount bigint,
                 opened_at timestamptz, delivered_at timestamptz, draws jsonb, refunds jsonb, refunded numeric)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
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
        RAISE EXCEPTION 'HOLD_NOT_FOUND: this license has no charge or deduction %', p_cause_id USING ERRCODE = 'OB404';
    END IF;
END
$$;

REVOKE ALL ON FUNCTION obol.show_receipt(uuid, uuid, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_receipt(uuid, uuid, bytea, bytea, text) TO obol_service;

-- What the audit trail says of what operators did, and what they did of the trail: see verify. An act is written in
-- the transaction of what it names, so neither is ever there alone. Entries up to audit_starts are of before there was
-- a trail; a deduction's act is only looked at from the act's side, because most have none; and the service itself
-- gives back what it could not deliver.
CREATE OR REPLACE FUNCTION obol.verify_acts()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
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
              FROM obol.named_acts a WHERE a.act = 'refund' GROUP BY a.license_id, a.target, a.target_id, a.amount) a
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
     WHERE CASE a.act WHEN 'grant_credits' THEN (g.amount = a.amount) IS NOT TRUE
                      WHEN 'void_grant' THEN g.voided_at IS NULL
                      WHEN 'adjust_credits' THEN (e.amount = a.amount) IS NOT TRUE
                      WHEN 'deduct' THEN (-e.amount = a.amount) IS NOT TRUE
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

REVOKE ALL ON FUNCTION obol.verify_acts() FROM PUBLIC;

-- What the grants say of the balance, of their entries and of what was allotted to them: see verify.
CREATE OR REPLACE FUNCTION obol.verify_grants()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
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
           format('grant %s of %s: %s left, %s lapsed, %s drawn', g.grant_id, g.amount, g.credits_left, g.lapsed, COALESCE(a.drawn, 0))
      FROM obol.grants g
      LEFT JOIN (SELECT a.license_id, a.grant_id, sum(a.balance_from - a.balance_to) AS drawn
                   FROM obol.allotments a GROUP BY a.license_id, a.grant_id) a USING (license_id, grant_id)
     WHERE g.amount <> g.credits_left + g.lapsed + COALESCE(a.drawn, 0)
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, COALESCE(e.taken, 0))
      FROM obol.grants g
      LEFT JOIN (SELECT e.license_id, e.cause_id, -sum(e.amount) AS taken
                   FROM obol.ledger_entries e WHERE e.kind IN ('expiry', 'void') GROUP BY e.license_id, e.cause_id) e
             ON e.license_id = g.license_id AND e.cause_id = g.grant_id
     WHERE COALESCE(e.taken, 0) <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
    UNION ALL
    SELECT g.license_id, 'a grant that has started has its entry, and no other has one',
           format('grant %s of %s: %s entries', g.grant_id, g.amount, e.entries)
      FROM obol.grants g
     CROSS JOIN LATERAL (SELECT count(*) AS entries FROM obol.ledger_entries e
                          WHERE e.license_id = g.license_id
                            AND ((e.kind IN ('grant', 'adjustment') AND e.cause_id = g.grant_id AND e.amount = g.amount)
                                 OR (g.reason = 'refund' AND e.kind = 'refund' AND e.part_id = g.grant_id))) e
     WHERE e.entries <> g.has_started::integer
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

REVOKE ALL ON FUNCTION obol.verify_grants() FROM PUBLIC;

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

REVOKE ALL ON FUNCTION obol.verify_ledger() FROM PUBLIC;

-- What each license says of its ledger and its holds: see verify.
-- NOT MATERIALIZED: on a sharded database what is materialized is read in a snapshot of its own.
CREATE OR REPLACE FUNCTION obol.verify_licenses()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH entry_sums AS NOT MATERIALIZED (
        SELECT e.license_id, sum(e.amount) AS total, count(*) AS entries, max(e.entry_no) AS last_no
          FROM obol.ledger_entries e GROUP BY e.license_id
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

REVOKE ALL ON FUNCTION obol.verify_licenses() FROM PUBLIC;

-- What is counted in limits, against the holds and deductions that counted: see verify. A deduction does not say
-- whether there was a limit yet when it was made, so the credits of a day or month are its holds' at least, and at most
-- with all deductions of its key. Those are booked a moment after they were counted: the next day's first minute may
-- be of the day before.
CREATE OR REPLACE FUNCTION obol.verify_limits()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
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
$$;

REVOKE ALL ON FUNCTION obol.verify_limits() FROM PUBLIC;

-- The rules of verify_acts for the entries, grants, tokens and acts since a time. The act of what was booked since then
-- is of since then too, but for an hour by which a clock may have been put back in between.
CREATE OR REPLACE FUNCTION obol.verify_recent_acts(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
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

REVOKE ALL ON FUNCTION obol.verify_recent_acts(timestamptz) FROM PUBLIC;

-- The rules of verify_grants for the licenses that something was booked for since a time, without adding their entries
-- up, and for the grants that entries name since then.
CREATE OR REPLACE FUNCTION obol.verify_recent_grants(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'the balance is what the grants have left, less what was used since',
           format('grants have %s left, the balance was %s after entry %s', g.credits_left, COALESCE(a.balance_after, 0),
                  l.allotted_entry_no)
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      -- What was used since then is what the balance has fallen by, as the entries chain.
      LEFT JOIN obol.ledger_entries a ON a.license_id = r.id AND a.entry_no = l.allotted_entry_no
     CROSS JOIN LATERAL (SELECT COALESCE(sum(g.credits_left), 0) AS credits_left FROM obol.grants g
                          WHERE g.license_id = r.id AND g.has_started AND g.credits_left > 0) g
     WHERE g.credits_left <> COALESCE(a.balance_after, 0)
    UNION ALL
    SELECT e.license_id, 'what changes the set of grants is allotted at once',
           format('entry %s is a %s, and entries are allotted up to %s', e.entry_no, e.kind, l.allotted_entry_no)
      FROM obol.ledger_entries e JOIN obol.licenses l ON l.license_id = e.license_id
     WHERE e.created_at >= p_since
       AND e.entry_no > l.allotted_entry_no AND (e.amount > 0 OR e.kind NOT IN ('charge', 'deduction', 'adjustment'))
    UNION ALL
    SELECT g.license_id, 'what lapsed of a grant has its entries',
           format('grant %s: %s lapsed, entries took %s', g.grant_id, g.lapsed, t.taken)
      FROM (SELECT DISTINCT e.license_id, e.cause_id FROM obol.ledger_entries e
             WHERE e.created_at >= p_since AND e.kind IN ('expiry', 'void')) e
      JOIN obol.grants g ON g.license_id = e.license_id AND g.grant_id = e.cause_id
     CROSS JOIN LATERAL (SELECT -sum(t.amount) AS taken FROM obol.ledger_entries t
                          WHERE t.license_id = e.license_id AND t.kind IN ('expiry', 'void') AND t.cause_id = e.cause_id) t
     WHERE t.taken <> CASE WHEN g.has_started THEN g.lapsed ELSE 0 END
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

REVOKE ALL ON FUNCTION obol.verify_recent_grants(timestamptz) FROM PUBLIC;

-- The rules of verify_ledger for the entries since a time: each against the entry before it, its price and its hold.
CREATE OR REPLACE FUNCTION obol.verify_recent_ledger(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT e.license_id, 'entry numbers have no gaps',
           format('entry %s follows entry %s', e.entry_no,
                  COALESCE((SELECT max(b.entry_no) FROM obol.ledger_entries b
                             WHERE b.license_id = e.license_id AND b.entry_no < e.entry_no), 0))
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
     WHERE e.created_at >= p_since AND e.entry_no > 1 AND p.entry_no IS NULL
    UNION ALL
    SELECT e.license_id, 'balances chain',
           format('entry %s: %s and %s make %s, not %s', e.entry_no, COALESCE(p.balance_after, 0), e.amount,
                  COALESCE(p.balance_after, 0) + e.amount, e.balance_after)
      FROM obol.ledger_entries e
      LEFT JOIN obol.ledger_entries p ON p.license_id = e.license_id AND p.entry_no = e.entry_no - 1
     WHERE e.created_at >= p_since AND (e.entry_no = 1 OR p.entry_no IS NOT NULL)
       AND e.balance_after <> COALESCE(p.balance_after, 0) + e.amount
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

REVOKE ALL ON FUNCTION obol.verify_recent_ledger(timestamptz) FROM PUBLIC;

-- The rules of verify_licenses, verify_limits and verify_usage for the licenses of recent_licenses, without adding
-- their entries up: the last one says what they come to, when each follows the one before it.
CREATE OR REPLACE FUNCTION obol.verify_recent_licenses(p_since timestamptz)
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_ids uuid[] := ARRAY(SELECT r FROM obol.recent_licenses(p_since) AS r);
BEGIN
    RETURN QUERY
    SELECT l.license_id, 'balance is the sum of the entries',
           format('balance %s, it was %s after entry %s', l.balance, COALESCE(e.balance_after, 0), COALESCE(e.entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.balance_after, n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.balance <> COALESCE(e.balance_after, 0)
    UNION ALL
    SELECT l.license_id, 'the entry counter is the last entry number',
           format('counter %s, the last is %s', l.entry_count, COALESCE(e.entry_no, 0))
      FROM unnest(v_ids) AS r (id)
      JOIN obol.licenses l ON l.license_id = r.id
      LEFT JOIN LATERAL (SELECT n.entry_no FROM obol.ledger_entries n WHERE n.license_id = r.id
                          ORDER BY n.entry_no DESC LIMIT 1) e ON true
     WHERE l.entry_count <> COALESCE(e.entry_no, 0)
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

REVOKE ALL ON FUNCTION obol.verify_recent_licenses(timestamptz) FROM PUBLIC;

-- What the roll-ups of usage say, compared with the entries that they were made of: see verify.
CREATE OR REPLACE FUNCTION obol.verify_usage()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.license_id, 'usage is what the entries up to its watermark say',
           format('%s, model %s: %s calls and %s credits too many, or others of its figures differ', d.day,
                  COALESCE(d.model, 'none'), sum(d.calls), sum(d.credits))
      FROM (SELECT r.license_id, r.day, r.model, r.key_id, r.calls, r.credits, r.input_tokens, r.output_tokens,
                   r.cache_write_5m_tokens, r.cache_write_1h_tokens, r.cache_read_tokens, r.refunded
              FROM obol.usage_rollups r
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

REVOKE ALL ON FUNCTION obol.verify_usage() FROM PUBLIC;

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
    UNION ALL
    SELECT n.license_id, n.rule, n.detail FROM obol.verify_events() n
    UNION ALL
    SELECT p.license_id, p.rule, p.detail FROM obol.verify_payments() p
    UNION ALL
    SELECT b.license_id, b.rule, b.detail FROM obol.verify_business() b
$$;

REVOKE ALL ON FUNCTION obol.verify() FROM PUBLIC;

-- What each payment comes to now. disputed: money that disputes hold back, open or lost. In credits: entitled, what is
-- paid for once the money that went back is taken off (it takes its part, rounded up); kept, what the license had of it or
-- can still have, which is all that was given and did not lapse; taken, what was taken back because of the money and
-- not given again; owed, what was to be taken back and was used, or is held.
CREATE OR REPLACE VIEW obol.payment_sums AS
SELECT p.license_id,
       p.payment_id,
       d.disputed,
       e.entitled,
       g.kept,
       v.voided - g.again AS taken,
       GREATEST(0, g.kept - e.entitled) AS owed
  FROM obol.payments p
 CROSS JOIN LATERAL (
    SELECT COALESCE(sum((s.value ->> 'amount')::bigint), 0)::bigint AS disputed
      FROM jsonb_each(p.disputes) s WHERE s.value ->> 'state' IN ('open', 'lost')) d
 CROSS JOIN LATERAL (
    SELECT p.credits - ceil(p.credits * LEAST(p.refunded + d.disputed, p.price)::numeric / p.price)::bigint AS entitled) e
 CROSS JOIN LATERAL (
    SELECT COALESCE(sum(g.amount - g.lapsed), 0)::bigint AS kept,
           COALESCE(sum(g.amount) FILTER (WHERE g.grant_id <> p.payment_id), 0)::bigint AS again
      FROM obol.payment_grants o
      JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id) g
 CROSS JOIN LATERAL (
    SELECT COALESCE(-sum(l.amount), 0)::bigint AS voided
      FROM obol.payment_grants o
      JOIN obol.ledger_entries l ON l.license_id = o.license_id AND l.cause_id = o.grant_id AND l.kind = 'void'
     WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id
       -- Not what an operator voided.
       AND (o.is_voided OR l.reference = 'payment ' || p.payment_id)) v;
