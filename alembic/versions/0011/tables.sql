CREATE TABLE obol.packages (
    package_id text PRIMARY KEY,
    name text NOT NULL,
    price bigint NOT NULL CHECK (price > 0),
    currency text NOT NULL CHECK (currency ~ '^[a-z]{3}$'),
    credits bigint NOT NULL CHECK (credits > 0),
    lifetime_days bigint CHECK (lifetime_days > 0),
    is_active boolean NOT NULL,
    changed_at timestamptz NOT NULL
);
COMMENT ON TABLE obol.packages IS
    'What is sold by card: credits, for good or for a time, at a price in the smallest unit of a currency. What was is in the audit trail, and each payment keeps the package as it was.';

CREATE TABLE obol.payments (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    payment_id uuid NOT NULL,
    package_id text NOT NULL,
    name text NOT NULL,
    price bigint NOT NULL CHECK (price > 0),
    currency text NOT NULL,
    credits bigint NOT NULL CHECK (credits > 0),
    lifetime_days bigint,
    success_url text NOT NULL,
    cancel_url text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'paid', 'expired')),
    session_id text,
    checkout_url text,
    expires_at timestamptz NOT NULL,
    payment_intent text,
    refunded bigint NOT NULL DEFAULT 0 CHECK (refunded >= 0),
    disputes jsonb NOT NULL DEFAULT '{}',
    disagreement text,
    created_at timestamptz NOT NULL,
    paid_at timestamptz,
    taken_at timestamptz,
    PRIMARY KEY (license_id, payment_id),
    CHECK ((state = 'paid') = (paid_at IS NOT NULL))
);
CREATE INDEX payments_newest ON obol.payments (created_at, payment_id);
COMMENT ON TABLE obol.payments IS
    'Payments by card, each with the package as it was when it was begun. disputes is {id: {"amount", "state"}}, state one of inquiry, open, lost, won; refunded and the amounts are money. disagreement is how the last event that was not booked differed.';

CREATE TABLE obol.payment_grants (
    license_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    is_voided boolean NOT NULL DEFAULT false,
    PRIMARY KEY (license_id, grant_id),
    FOREIGN KEY (license_id, grant_id) REFERENCES obol.grants,
    FOREIGN KEY (license_id, payment_id) REFERENCES obol.payments
);
CREATE INDEX payment_grants_payment ON obol.payment_grants (license_id, payment_id);
COMMENT ON TABLE obol.payment_grants IS
    'What was given for a payment: the first grant has its id, further ones are what a dispute took and gave back. is_voided: because of the money, and not by an operator.';

CREATE TABLE obol.stripe_events (
    license_id uuid NOT NULL,
    event_id text NOT NULL,
    payment_id uuid NOT NULL,
    event_type text NOT NULL,
    booked_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, event_id),
    FOREIGN KEY (license_id, payment_id) REFERENCES obol.payments
);
COMMENT ON TABLE obol.stripe_events IS 'The events of Stripe that were looked at: each once.';

CREATE TABLE obol.stripe_intents (
    payment_intent text PRIMARY KEY,
    license_id uuid NOT NULL,
    payment_id uuid NOT NULL
);
COMMENT ON TABLE obol.stripe_intents IS
    'Where to look for the payment of a dispute, which names nothing but Stripe''s payment intent. A table of its own, and without a foreign key, for the reasons of external_ids.';

CREATE TABLE obol.stripe_secrets (
    signing_secret bytea PRIMARY KEY CHECK (length(signing_secret) BETWEEN 16 AND 200),
    created_at timestamptz NOT NULL,
    expires_at timestamptz
);
COMMENT ON TABLE obol.stripe_secrets IS
    'The secrets that Stripe signs its events with. Whoever knows one can make credits: no function gives them out, and the service''s login does not read them.';
