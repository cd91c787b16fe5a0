-- Money came for these, and Stripe sends what becomes of it for months.
DO $$
BEGIN
    IF EXISTS (SELECT FROM obol.payments) THEN
        RAISE EXCEPTION 'there are payments, which no release before knows: this migration cannot be taken back';
    END IF;
END
$$;
DROP FUNCTION
    obol.book_stripe_event,
    obol.disagreement_of,
    obol.end_package,
    obol.find_stripe_intent,
    obol.give_for_payment,
    obol.hmac_sha256,
    obol.is_signed_by_stripe,
    obol.list_all_payments,
    obol.list_packages,
    obol.list_payments,
    obol.note_checkout,
    obol.note_stripe_state,
    obol.open_payment,
    obol.set_package,
    obol.set_stripe_secret,
    obol.square_payment,
    obol.verify_payments;
DROP VIEW obol.payment_sums;
DROP TABLE obol.payment_grants, obol.stripe_events, obol.stripe_intents, obol.stripe_secrets, obol.payments, obol.packages;
