-- What is kept of archived entries, against each other and the license: see verify. The files are for `obol verify --archive`.
CREATE OR REPLACE FUNCTION obol.verify_archived()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.license_id, 'what is archived was allotted and rolled up',
           format('archived up to entry %s, allotted up to %s, rolled up to %s', a.last_entry_no, l.allotted_entry_no,
                  COALESCE(w.entry_no, 0))
      FROM obol.archived a
      JOIN obol.licenses l ON l.license_id = a.license_id
      LEFT JOIN obol.usage_watermarks w ON w.license_id = a.license_id
     WHERE a.last_entry_no > l.allotted_entry_no OR a.last_entry_no > COALESCE(w.entry_no, 0)
    UNION ALL
    SELECT COALESCE(d.license_id, a.license_id), 'archived days add up to the archived balance',
           format('%s, and the balance after entry %s was %s', COALESCE(d.total, 0), COALESCE(a.last_entry_no, 0), COALESCE(a.balance, 0))
      FROM (SELECT s.license_id, sum(s.total) AS total, sum(s.granted - s.charged + s.refunded - s.expired - s.voided + s.adjusted) AS parts
              FROM obol.archived_days s GROUP BY s.license_id) d
      FULL JOIN obol.archived a ON a.license_id = d.license_id
     WHERE (d.total = a.balance AND d.parts = d.total) IS NOT TRUE
    UNION ALL
    SELECT COALESCE(a.license_id, f.license_id), 'what is archived is in files, one after the other',
           format('archived up to entry %s, %s files have %s entries up to %s', COALESCE(a.last_entry_no, 0), COALESCE(f.files, 0),
                  COALESCE(f.entries, 0), COALESCE(f.last_entry_no, 0))
      FROM obol.archived a
      FULL JOIN (SELECT s.license_id, count(*) AS files, sum(s.last_entry_no - s.first_entry_no + 1) AS entries,
                        max(s.last_entry_no) AS last_entry_no
                   FROM obol.archived_files s GROUP BY s.license_id) f ON f.license_id = a.license_id
     WHERE (a.last_entry_no = f.entries AND a.last_entry_no = f.last_entry_no) IS NOT TRUE
    UNION ALL
    SELECT f.license_id, 'what is archived has its act',
           format('entries %s to %s are in a file, and no act says so', f.first_entry_no, f.last_entry_no)
      FROM obol.archived_files f
     WHERE NOT EXISTS (SELECT FROM obol.named_acts a
                        WHERE a.act = 'archive' AND a.license_id = f.license_id
                          AND a.detail ->> 'sha256' = encode(f.file_digest, 'hex')
                          AND a.detail -> 'first_entry_no' = to_jsonb(f.first_entry_no)
                          AND a.detail -> 'last_entry_no' = to_jsonb(f.last_entry_no))
    UNION ALL
    SELECT o.license_id, 'archived voids of a payment are of what archived entries took of its grant',
           format('grant %s: %s lapsed, %s voided, %s of it in parts', o.grant_id, g.archived_lapsed, o.archived_voided,
                  o.archived_taken)
      FROM obol.payment_grants o
      JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE o.archived_taken < 0 OR o.archived_taken > o.archived_voided OR o.archived_voided > g.archived_lapsed
    UNION ALL
    SELECT c.license_id, 'archived usage is what the archived days say',
           format('on %s %s credits and %s refunded too many', c.day, sum(c.credits), sum(c.refunded))
      FROM (SELECT u.license_id, u.day, u.credits, u.refunded FROM obol.archived_usage u
            UNION ALL
            SELECT d.license_id, d.day, -d.charged, -d.refunded FROM obol.archived_days d) c
     GROUP BY c.license_id, c.day
    HAVING sum(c.credits) <> 0 OR sum(c.refunded) <> 0
$$;

REVOKE ALL ON FUNCTION obol.verify_archived() FROM PUBLIC;
