-- What the payments say of their grants: see verify.
CREATE OR REPLACE FUNCTION obol.verify_payments()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p.license_id, 'a payment has its grant once it is paid, and not before',
           format('payment %s of %s credits is %s, and its grant is of %s', p.payment_id, p.credits, p.state,
                  COALESCE(g.amount, 0))
      FROM obol.payments p
      LEFT JOIN obol.payment_grants o
             ON o.license_id = p.license_id AND o.payment_id = p.payment_id AND o.grant_id = p.payment_id
      LEFT JOIN obol.grants g ON g.license_id = o.license_id AND g.grant_id = o.grant_id
     WHERE COALESCE(g.amount, 0) <> CASE p.state WHEN 'paid' THEN p.credits ELSE 0 END
    UNION ALL
    SELECT p.license_id, 'a paid payment has the event that says so', format('payment %s was paid at %s', p.payment_id, p.paid_at)
      FROM obol.payments p
     WHERE p.state = 'paid'
       AND NOT EXISTS (SELECT FROM obol.stripe_events e
                        WHERE e.license_id = p.license_id AND e.payment_id = p.payment_id
                          AND e.event_type IN ('checkout.session.completed', 'checkout.session.async_payment_succeeded'))
    UNION ALL
    SELECT p.license_id, 'what is given again for a payment was taken before',
           format('payment %s: %s more credits were given again than were taken', p.payment_id, -s.taken)
      FROM obol.payments p
      JOIN obol.payment_sums s ON s.license_id = p.license_id AND s.payment_id = p.payment_id
     WHERE p.state = 'paid' AND s.taken < 0
    UNION ALL
    SELECT p.license_id, 'what is refunded of a payment is what Stripe has told of it',
           format('payment %s: %s is refunded, and %s was told', p.payment_id, p.refunded,
                  obol.sum_refunds(p.refunds_told, p.refunds_failed))
      FROM obol.payments p
     WHERE p.refunded <> obol.sum_refunds(p.refunds_told, p.refunds_failed)
$$;

REVOKE ALL ON FUNCTION obol.verify_payments() FROM PUBLIC;
