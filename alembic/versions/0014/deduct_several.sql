-- Deductions with one key, one after the other in one transaction, each as deduct does it and on its own: the arrays have
-- an element for each. What refuses one is in its row: the SQLSTATE, the message, detail and hint. Calls that would wait
-- for each other at the row of their license share one wait, one transaction and one flush of the log.
-- Each has a subtransaction; more than 64 in a transaction are slow for everybody.
-- Errors: 40001 means ask again with the same ids.
CREATE OR REPLACE FUNCTION obol.deduct_several(
    p_license_id uuid,
    p_key_digest bytea,
    p_deduction_ids uuid[],
    p_amounts bigint[],
    p_idempotency_keys text[],
    p_fingerprints bytea[],
    p_references text[]
) RETURNS TABLE (item_no bigint, deduction_id uuid, amount bigint, balance bigint, refusal text[])
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
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

REVOKE ALL ON FUNCTION obol.deduct_several(uuid, bytea, uuid[], bigint[], text[], bytea[], text[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.deduct_several(uuid, bytea, uuid[], bigint[], text[], bytea[], text[]) TO obol_service;
