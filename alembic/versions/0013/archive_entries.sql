-- Takes the entries of a license up to p_last_entry_no, with their holds, allotments and idempotency keys, out of the tables,
-- now that they are in a file: if its SHA-256 is that of the lines as they are at this moment, under the lock. obol.archived
-- says from then on where the ledger of the license begins in the tables.
-- Returns whether they are archived with this file, now or before: false where something of them has changed since
-- prepare_archive, or another run was quicker; nothing is done then.
-- Errors: ADMIN_FORBIDDEN, INVALID_LICENSE (no such license); 40001: ask again.
CREATE OR REPLACE FUNCTION obol.archive_entries(
    p_license_id uuid,
    p_last_entry_no bigint,
    p_file_digest bytea,
    p_token_digest bytea,
    p_request_id text
) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
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

REVOKE ALL ON FUNCTION obol.archive_entries(uuid, bigint, bytea, bytea, text) FROM PUBLIC;
