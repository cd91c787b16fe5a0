-- What is counted in limits, against the holds and deductions that counted: see verify. A deduction does not say
-- whether there was a limit yet when it was made, so the credits of a day or month are its holds' at least, and at most
-- with all deductions of its key. Those are booked a moment after they were counted: the next day's first minute may
-- be of the day before. Of a day or a month that has gone by, some of which is archived, nothing is compared.
CREATE OR REPLACE FUNCTION obol.verify_limits()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.license_id, 'the open holds of a limit are those that count in it',
           format('%s of %s, and %s holds are open', s.open_holds, s.subject_id, h.holds)
      FROM obol.limit_states s
     CROSS JOIN LATERAL (SELECT count(*) AS holds FROM obol.holds h
                          WHERE h.license_id = s.license_id AND h.state = 'held'
                            AND h.limited_by @> ARRAY[s.subject_id]) h
     WHERE s.open_holds <> h.holds
    UNION ALL
    SELECT s.license_id, 'the credits of a limit are what its holds and deductions took',
           format('%s credits of %s from %s on; its holds took %s, deductions %s', w.credits, s.subject_id, w.starts,
                  h.credits, d.credits)
      FROM obol.limit_states s
     CROSS JOIN LATERAL (VALUES (s.day, s.day + 1, s.day_credits),
                                (s.month, (s.month + interval '1 month')::date, s.month_credits)) AS w (starts, ends, credits)
     CROSS JOIN LATERAL (SELECT COALESCE(sum(CASE h.state WHEN 'held' THEN h.amount WHEN 'settled' THEN -e.amount END), 0) AS credits
                           FROM obol.holds h
                           LEFT JOIN obol.ledger_entries e
                                  ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
                          WHERE h.license_id = s.license_id AND h.limited_by @> ARRAY[s.subject_id]
                            AND h.opened_at >= w.starts::timestamp AT TIME ZONE 'UTC'
                            AND h.opened_at < w.ends::timestamp AT TIME ZONE 'UTC') h
     CROSS JOIN LATERAL (SELECT COALESCE(-sum(e.amount), 0) AS credits
                           FROM obol.ledger_entries e
                          WHERE e.license_id = s.license_id AND e.kind = 'deduction'
                            AND s.subject_id IN (e.key_id, e.license_id)
                            AND e.created_at >= w.starts::timestamp AT TIME ZONE 'UTC'
                            AND e.created_at < w.ends::timestamp AT TIME ZONE 'UTC' + interval '1 minute') d
     WHERE NOT w.credits BETWEEN h.credits AND h.credits + d.credits
       AND NOT EXISTS (SELECT FROM obol.archived a
                        WHERE a.license_id = s.license_id AND a.last_entry_at >= w.starts::timestamp AT TIME ZONE 'UTC')
$$;

REVOKE ALL ON FUNCTION obol.verify_limits() FROM PUBLIC;
