-- What each payment comes to now. disputed: money that disputes hold back, open or lost. In credits: entitled, what is
-- paid for once the money that went back is taken off (it takes its part, rounded up); kept, what the license had of it or
-- can still have, which is all that was given and did not lapse; taken, what was taken back because of the money and
-- not given again; owed, what was to be taken back and was used, or is held.
CREATE OR REPLACE VIEW obol.payment_sums AS
SELECT p.license_id,
       p.payment_id,
       d.disputed,
       e.entitled,
       g.kept,
       v.voided + g.archived - g.again AS taken,
       GREATEST(0, g.kept - e.entitled) AS owed
  FROM obol.payments p
 CROSS JOIN LATERAL (
    SELECT COALESCE(sum((s.value ->> 'amount')::bigint), 0)::bigint AS disputed
      FROM jsonb_each(p.disputes) s WHERE s.value ->> 'state' IN ('open', 'lost')) d
 CROSS JOIN LATERAL (
    SELECT p.credits - ceil(p.credits * LEAST(p.refunded + d.disputed, p.price)::numeric / p.price)::bigint AS entitled) e
 CROSS JOIN LATERAL (
    SELECT COALESCE(sum(g.amount - g.lapsed), 0)::bigint AS kept,
           COALESCE(sum(g.amount) FILTER (WHERE g.grant_id <> p.payment_id), 0)::bigint AS again,
           -- As below, of entries that are archived.
           COALESCE(sum(CASE WHEN o.is_voided THEN o.archived_voided ELSE o.archived_taken END), 0)::bigint AS archived
      FROM obol.payment_grants o
      JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id) g
 CROSS JOIN LATERAL (
    SELECT COALESCE(-sum(l.amount), 0)::bigint AS voided
      FROM obol.payment_grants o
      JOIN obol.ledger_entries l ON l.license_id = o.license_id AND l.cause_id = o.grant_id AND l.kind = 'void'
     WHERE o.license_id = p.license_id AND o.payment_id = p.payment_id
       -- Not what an operator voided.
       AND (o.is_voided OR l.reference = 'payment ' || p.payment_id)) v;
