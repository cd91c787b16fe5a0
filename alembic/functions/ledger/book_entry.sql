-- Appends one ledger entry. The caller has moved the balance and the entry counter in the same
-- transaction. A second entry of the same kind for the same cause (the same call asked again
-- while the first was still running) raises 40001 and takes the caller's write back with it.
-- p_key_id: of a charge or a deduction, the key that made it.
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
    p_shortfall bigint DEFAULT 0,
    p_key_id uuid DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
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

REVOKE ALL ON FUNCTION obol.book_entry(uuid, bigint, text, bigint, bigint, uuid, text, text, jsonb, jsonb, bigint, uuid) FROM PUBLIC;
