-- Which entries of a license are to be archived next (archivable_through has the arguments): none, where no row comes.
-- What they drew on is allotted before that, and what was allotted for them and for later ones is parted: between two
-- changes of the set of grants the balance only falls, so the balance after the last of them says what is whose. Done again,
-- or without archive_entries after it, it does no harm. Only what the business by time has counted for good may go: it is
-- never counted again.
-- Errors: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license); 40001: ask again.
CREATE OR REPLACE FUNCTION obol.prepare_archive(
    p_license_id uuid,
    p_before timestamptz,
    p_most integer,
    p_with_undelivered boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (first_entry_no bigint, last_entry_no bigint)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
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

REVOKE ALL ON FUNCTION obol.prepare_archive(uuid, timestamptz, integer, boolean, bytea, text) FROM PUBLIC;
