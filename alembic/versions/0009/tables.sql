ALTER TABLE obol.licenses
    ADD COLUMN notify_below bigint NOT NULL DEFAULT 0,
    ADD COLUMN alert_base bigint NOT NULL DEFAULT 0,
    ADD COLUMN alerts jsonb,
    ADD COLUMN email text;
COMMENT ON COLUMN obol.licenses.notify_below IS
    'The highest threshold below the balance that is still to be told: 0 for the end of the credits, -1 when that was told too. A charge compares with it, and only the one that crosses it writes an event.';
COMMENT ON COLUMN obol.licenses.alert_base IS 'The balance after the last top-up, of which thresholds in percent are.';
COMMENT ON COLUMN obol.licenses.alerts IS '{"credits": […], "percent": […]}, with those that are set; null: none.';

ALTER TABLE obol.grants ADD COLUMN expiry_told_at timestamptz;
-- Small tables of what is still to be told, in the one transaction that no seller runs beside.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX grants_expiring ON obol.grants (expires_at)
    WHERE credits_left > 0 AND expires_at IS NOT NULL AND voided_at IS NULL AND expiry_told_at IS NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX holds_undelivered ON obol.holds (ended_at)
    WHERE state = 'settled' AND process_id IS NOT NULL AND delivered_at IS NULL;

CREATE TABLE obol.events (
    license_id uuid NOT NULL,
    event_no bigint NOT NULL CHECK (event_no > 0),
    event_id uuid NOT NULL,
    type text NOT NULL,
    cause_id uuid,
    data jsonb NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, event_no),
    UNIQUE (license_id, type, cause_id)
);
CREATE INDEX events_age ON obol.events (created_at, event_id);
CREATE INDEX events_ids ON obol.events (event_id);
COMMENT ON TABLE obol.events IS
    'What happened and others want to know, written in the transaction in which it happens, and numbered by license. cause_id (a hold, a grant, a key, a payment) is told once of each type. license_id is all zeros where it is about no license: therefore without a foreign key.';

CREATE TABLE obol.webhooks (
    webhook_id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('http', 'email')),
    url text NOT NULL,
    name text NOT NULL,
    types text[],
    secret bytea NOT NULL,
    old_secret bytea,
    old_secret_until timestamptz,
    created_at timestamptz NOT NULL,
    paused_at timestamptz,
    paused_because text CHECK (paused_because IN ('operator', 'failing', 'gone')),
    failing_since timestamptz,
    last_error text,
    deleted_at timestamptz,
    CHECK ((paused_at IS NULL) = (paused_because IS NULL)),
    CHECK ((old_secret IS NULL) = (old_secret_until IS NULL))
);
COMMENT ON TABLE obol.webhooks IS
    'Where events go. Secrets are sealed under a key that only the service has: the database can sign nothing. types: null for all. The one of all zeros is the e-mail to licenses that have an address.';
INSERT INTO obol.webhooks (webhook_id, kind, url, name, types, secret, created_at)
VALUES ('00000000-0000-0000-0000-000000000000', 'email', 'mailto:', 'e-mail',
        ARRAY['license.low_balance', 'license.exhausted'], '', '2026-01-01T00:00:00Z');

CREATE TABLE obol.deliveries (
    license_id uuid NOT NULL,
    event_no bigint NOT NULL,
    webhook_id uuid NOT NULL,
    state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'failed')),
    -- Attempts of three days, and a status of HTTP, fit.
    -- squawk-ignore prefer-bigint-over-int
    attempts integer NOT NULL DEFAULT 0,
    first_attempt_at timestamptz,
    last_attempt_at timestamptz,
    -- squawk-ignore prefer-bigint-over-int
    last_status integer,
    last_error text,
    PRIMARY KEY (license_id, event_no, webhook_id),
    FOREIGN KEY (license_id, event_no) REFERENCES obol.events ON DELETE CASCADE
);
CREATE INDEX deliveries_waiting ON obol.deliveries (webhook_id, license_id, event_no) WHERE state = 'waiting';
CREATE INDEX deliveries_failed ON obol.deliveries (webhook_id) WHERE state = 'failed';
COMMENT ON TABLE obol.deliveries IS
    'Each event for each webhook that wanted it when it happened: waiting, delivered, or given up after three days (failed).';

CREATE TABLE obol.delivery_queues (
    license_id uuid NOT NULL,
    webhook_id uuid NOT NULL,
    next_attempt_at timestamptz,
    claim_id uuid,
    event_no bigint,
    PRIMARY KEY (license_id, webhook_id)
) WITH (fillfactor = 50);
CREATE INDEX delivery_queues_due ON obol.delivery_queues (webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
COMMENT ON TABLE obol.delivery_queues IS
    'The order of a license''s events at a webhook: only the first that waits is tried, from next_attempt_at on (null: none waits). Whoever tries it (claim_id, event_no) puts that time off first, so that nobody else does meanwhile, and anybody may when the process has died.';
