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

REVOKE ALL ON FUNCTION obol.bring_up_to_date(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.bring_up_to_date(uuid, boolean) TO obol_service;
