-- The balance of a license at the end of each day (UTC) from p_from to p_to, both included, newest first; of the day that
-- runs, the balance as of now. The rows end at the day before its first entry, at 0, or, where older entries are archived, at
-- the newest day of these. Each day's last entry is found by halving, as entry_span finds it, so the number of
-- entries matters little: some twenty reads for a day on which there are any, none for another.
-- Errors: see check_reader.
CREATE OR REPLACE FUNCTION obol.show_balances(
    p_license_id uuid,
    p_from date,
    p_to date,
    p_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (day date, balance bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
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

REVOKE ALL ON FUNCTION obol.show_balances(uuid, date, date, bytea, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.show_balances(uuid, date, date, bytea, bytea, text) TO obol_service;
