-- Many deductions of an operator in one transaction, each as deduct_v2 does it and on its own: the arrays have an element
-- for each. Of the licenses of which every item goes through, all of them are booked at once; those of the others one
-- after the other, in the order of the items, and what refuses one is in its row: the SQLSTATE, the message, detail and hint.
-- The licenses are locked in the order of their ids, as by all that locks several, before anything is looked at; so
-- nothing here can be outdated by a wait. Not for licenses that are spread over nodes: there each item is a call.
-- Errors: ADMIN_FORBIDDEN; none of it is done then.
CREATE OR REPLACE FUNCTION obol.deduct_batch(
    p_license_ids uuid[],
    p_deduction_ids uuid[],
    p_amounts bigint[],
    p_idempotency_keys text[],
    p_fingerprints bytea[],
    p_references text[],
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (item_no bigint, deduction_id uuid, amount bigint, balance bigint, refusal text[])
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
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

REVOKE ALL ON FUNCTION obol.deduct_batch(uuid[], uuid[], bigint[], text[], bytea[], text[], bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct_batch(uuid[], uuid[], bigint[], text[], bytea[], text[], bytea, text) TO obol_service;
