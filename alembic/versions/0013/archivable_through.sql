-- Up to which entry a license's next entries may leave the tables: about p_most of them, all of before p_before (and over
-- 31 days old, for as long as keys live, limits count and answers are stored), rolled up, and none of them to be read again:
--   * a refund goes with what it gave back, so that none of the two is looked for where the other is not. For that
--     there may be more than p_most, or fewer;
--   * a charge whose answer is not known to have arrived stays until it is refunded, unless p_with_undelivered.
-- Returns the last one's number; that of the entry before them where there are none.
CREATE OR REPLACE FUNCTION obol.archivable_through(
    p_license_id uuid,
    p_before timestamptz,
    p_most integer,
    p_with_undelivered boolean
) RETURNS bigint
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
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

REVOKE ALL ON FUNCTION obol.archivable_through(uuid, timestamptz, integer, boolean) FROM PUBLIC;
