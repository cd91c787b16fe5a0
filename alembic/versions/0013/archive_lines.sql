-- Entries of a license, and what belongs to them, as the lines of JSON of their file: what is in it; the entries, each as in
-- digest_entries; the holds of the charges, in the order of these; and what was allotted. Times are in microseconds since 1970,
-- because text depends on the session's zone.
-- This is version 1 of a file, and its digest is in obol.archived: another list is another function.
CREATE OR REPLACE FUNCTION obol.archive_lines(p_license_id uuid, p_first bigint, p_last bigint)
RETURNS TABLE (line text)
LANGUAGE plpgsql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
        SELECT json_build_object(
                   'obol_archive', 1, 'license_id', p_license_id, 'first_entry_no', p_first, 'last_entry_no', p_last,
                   'holds', (SELECT count(*) FROM obol.ledger_entries e
                               JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
                              WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'charge'),
                   'allotments', (SELECT count(*) FROM obol.allotments a
                                   WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last),
                   'entry', json_build_array('entry_no', 'kind', 'amount', 'balance_after', 'cause_id', 'part_id', 'key_id',
                                             'reference', 'model', 'price', 'usage', 'shortfall', 'created_at'))::text;
    RETURN QUERY
        SELECT json_build_array(
                   e.entry_no, e.kind, e.amount, e.balance_after, e.cause_id, e.part_id, e.key_id, e.reference, e.model, e.price,
                   e.usage, e.shortfall, (extract(epoch FROM e.created_at) * 1000000)::bigint)::text
          FROM obol.ledger_entries e
         WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last
         ORDER BY e.entry_no;
    RETURN QUERY
        SELECT json_build_object(
                   'hold_id', h.hold_id, 'amount', h.amount, 'state', h.state, 'process_id', h.process_id,
                   'expires_at', (extract(epoch FROM h.expires_at) * 1000000)::bigint, 'model', h.model, 'price', h.price,
                   'idempotency_key', h.idempotency_key, 'reference', h.reference, 'available_after', h.available_after,
                   'opened_at', (extract(epoch FROM h.opened_at) * 1000000)::bigint,
                   'ended_at', (extract(epoch FROM h.ended_at) * 1000000)::bigint,
                   'delivered_at', (extract(epoch FROM h.delivered_at) * 1000000)::bigint,
                   'key_id', h.key_id, 'limited_by', h.limited_by)::text
          FROM obol.ledger_entries e
          JOIN obol.holds h ON h.license_id = p_license_id AND h.hold_id = e.cause_id
         WHERE e.license_id = p_license_id AND e.entry_no BETWEEN p_first AND p_last AND e.kind = 'charge'
         ORDER BY e.entry_no;
    RETURN QUERY
        SELECT json_build_object(
                   'grant_id', a.grant_id, 'first_entry_no', a.first_entry_no, 'last_entry_no', a.last_entry_no,
                   'balance_from', a.balance_from, 'balance_to', a.balance_to)::text
          FROM obol.allotments a
         WHERE a.license_id = p_license_id AND a.last_entry_no BETWEEN p_first AND p_last
         ORDER BY a.last_entry_no, a.balance_from DESC, a.grant_id;
END
$$;

REVOKE ALL ON FUNCTION obol.archive_lines(uuid, bigint, bigint) FROM PUBLIC;
