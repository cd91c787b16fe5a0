ALTER TABLE obol.payments
    ADD COLUMN refunds_told jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN refunds_failed jsonb NOT NULL DEFAULT '{}';
COMMENT ON TABLE obol.payments IS
    'Payments by card, each with the package as it was when it was begun. disputes is {id: {"amount", "state"}}, state one of inquiry, open, lost, won, prevented; refunded is what refunds_told, {event id: {"amount", "at"}}, and refunds_failed, {refund id: {"amount", "begun_at", "failed_at"}}, come to; the amounts are money. disagreement is how the last event that was not booked differed.';
-- When Stripe said it is not known; until when it had, is.
UPDATE obol.payments p
   SET refunds_told = jsonb_build_object('earlier', jsonb_build_object('amount', p.refunded, 'at', e.booked_at))
  FROM (SELECT e.license_id, e.payment_id, extract(epoch FROM max(e.booked_at))::bigint AS booked_at
          FROM obol.stripe_events e WHERE e.event_type = 'charge.refunded'
         GROUP BY e.license_id, e.payment_id) e
 WHERE e.license_id = p.license_id AND e.payment_id = p.payment_id AND p.refunded > 0;
