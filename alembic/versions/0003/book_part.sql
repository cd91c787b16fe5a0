-- Appends an entry of which its cause can have several: a refund, an expiry, a void. As in
-- book_entry, the caller has moved the balance and the entry counter in the same transaction.
CREATE OR REPLACE FUNCTION obol.book_part(
    p_license_id uuid,
    p_entry_no bigint,
    p_kind text,
    p_amount bigint,
    p_balance_after bigint,
    p_cause_id uuid,
    p_part_id uuid,
    p_reference text
) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO obol.ledger_entries
           (license_id, entry_no, kind, amount, balance_after, cause_id, part_id, reference, created_at)
    VALUES (p_license_id, p_entry_no, p_kind, p_amount, p_balance_after, p_cause_id, p_part_id, p_reference,
            clock_timestamp());
END
$$;

REVOKE ALL ON FUNCTION obol.book_part(uuid, bigint, text, bigint, bigint, uuid, uuid, text) FROM PUBLIC;
