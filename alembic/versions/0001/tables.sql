REVOKE ALL ON SCHEMA obol FROM PUBLIC;
GRANT USAGE ON SCHEMA obol TO obol_service;

CREATE TABLE obol.licenses (
    license_id uuid PRIMARY KEY,
    name text NOT NULL,
    status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'suspended')),
    expires_at timestamptz,
    balance bigint NOT NULL DEFAULT 0 CHECK (balance >= 0),
    held bigint NOT NULL DEFAULT 0 CHECK (held >= 0),
    entry_count bigint NOT NULL DEFAULT 0,
    unpaid_tokens bigint NOT NULL DEFAULT 0 CHECK (unpaid_tokens >= 0),
    unpaid_until timestamptz NOT NULL DEFAULT '-infinity',
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (held <= balance)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE obol.licenses IS
    'The owners of credits. Every charge is one update of one row here, so there is room on each page for new versions and no index on a column that changes. unpaid_tokens were let through in streams that broke off and count until unpaid_until.';

CREATE TABLE obol.license_keys (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    key_digest bytea NOT NULL CHECK (length(key_digest) = 32),
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    PRIMARY KEY (license_id, key_digest)
);
COMMENT ON TABLE obol.license_keys IS
    'SHA-256 digests of the license keys; a license can have several while one is rotated. The keys themselves are stored nowhere.';

CREATE TABLE obol.holds (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    hold_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    state text NOT NULL DEFAULT 'held' CHECK (state IN ('held', 'settled', 'released', 'expired')),
    process_id uuid,
    expires_at timestamptz,
    model text,
    price jsonb,
    idempotency_key text,
    reference text,
    available_after bigint NOT NULL,
    opened_at timestamptz NOT NULL,
    ended_at timestamptz,
    delivered_at timestamptz,
    unpaid jsonb,
    PRIMARY KEY (license_id, hold_id),
    CHECK ((process_id IS NULL) = (expires_at IS NOT NULL)),
    CHECK ((state = 'held') = (ended_at IS NULL)),
    CHECK (unpaid IS NULL OR state = 'released')
) WITH (fillfactor = 80);
CREATE INDEX holds_open ON obol.holds (process_id, expires_at) WHERE state = 'held';
CREATE INDEX holds_ended ON obol.holds (ended_at) WHERE state IN ('released', 'expired');
COMMENT ON TABLE obol.holds IS
    'Credits set aside for a call in flight: of a process (it ends with the lease of the process) or of a client (it ends at expires_at). Settled ones stay, as their charges do; those that ended without a charge are forgotten by purge_expired. unpaid is what the client got of an answer that broke off: {"reason", "events", "bytes", "tokens" (estimated)}.';

CREATE TABLE obol.ledger_entries (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    entry_no bigint NOT NULL CHECK (entry_no > 0),
    kind text NOT NULL CHECK (kind IN ('grant', 'deduction', 'charge', 'refund', 'adjustment')),
    amount bigint NOT NULL,
    balance_after bigint NOT NULL CHECK (balance_after >= 0),
    cause_id uuid NOT NULL,
    reference text,
    model text,
    price jsonb,
    usage jsonb,
    shortfall bigint NOT NULL DEFAULT 0 CHECK (shortfall >= 0),
    created_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, entry_no),
    UNIQUE (license_id, kind, cause_id),
    CHECK (shortfall = 0 OR kind = 'charge'),
    CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount >= 0
                WHEN kind = 'adjustment' THEN amount <> 0
                ELSE amount <= 0 END)
);
COMMENT ON TABLE obol.ledger_entries IS
    'Every change of a balance, only ever added. cause_id is the id of the grant, adjustment, deduction or hold; a refund names what it gives back. One charge a hold is the unique constraint.';

CREATE TABLE obol.idempotency_keys (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    scope text NOT NULL CHECK (scope IN ('license', 'operator')),
    idempotency_key text NOT NULL,
    fingerprint bytea NOT NULL,
    cause_id uuid NOT NULL,
    in_force boolean NOT NULL DEFAULT true,
    answer bytea,
    answer_expires_at timestamptz,
    claimed_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, scope, idempotency_key)
);
CREATE INDEX idempotency_keys_answers ON obol.idempotency_keys (answer_expires_at) WHERE answer_expires_at IS NOT NULL;
CREATE INDEX idempotency_keys_age ON obol.idempotency_keys (claimed_at);
COMMENT ON TABLE obol.idempotency_keys IS
    'What a key names: the deduction, hold, grant or adjustment that it made. Freed (in_force = false) when its hold ended without a charge; the answer is ciphertext.';

CREATE TABLE obol.prices (
    model_pattern text NOT NULL
        CHECK (length(model_pattern) BETWEEN 1 AND 200
               AND position('*' IN model_pattern) IN (0, length(model_pattern))),
    effective_from timestamptz NOT NULL,
    input bigint CHECK (input BETWEEN 0 AND 1000000000000),
    output bigint CHECK (output BETWEEN 0 AND 1000000000000),
    cache_write_5m bigint CHECK (cache_write_5m BETWEEN 0 AND 1000000000000),
    cache_write_1h bigint CHECK (cache_write_1h BETWEEN 0 AND 1000000000000),
    cache_read bigint CHECK (cache_read BETWEEN 0 AND 1000000000000),
    PRIMARY KEY (model_pattern, effective_from),
    -- NULL can be taken for no price, and 0 would be one.
    CHECK (num_nulls(input, output, cache_write_5m, cache_write_1h, cache_read) IN (0, 5))
);
COMMENT ON TABLE obol.prices IS
    'The price book: credits per million tokens of each class. A pattern is a model name, or the beginning of one and a *. A row without figures ends its pattern: from then on what it names is not sold.';
INSERT INTO obol.prices (model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)
VALUES ('*', '2026-01-01T00:00:00Z', 1000000, 1000000, 1000000, 1000000, 1000000);

CREATE TABLE obol.price_tiers (
    model_pattern text NOT NULL,
    effective_from timestamptz NOT NULL,
    above_input_tokens bigint NOT NULL CHECK (above_input_tokens > 0),
    input bigint NOT NULL CHECK (input BETWEEN 0 AND 1000000000000),
    output bigint NOT NULL CHECK (output BETWEEN 0 AND 1000000000000),
    cache_write_5m bigint NOT NULL CHECK (cache_write_5m BETWEEN 0 AND 1000000000000),
    cache_write_1h bigint NOT NULL CHECK (cache_write_1h BETWEEN 0 AND 1000000000000),
    cache_read bigint NOT NULL CHECK (cache_read BETWEEN 0 AND 1000000000000),
    PRIMARY KEY (model_pattern, effective_from, above_input_tokens),
    FOREIGN KEY (model_pattern, effective_from) REFERENCES obol.prices ON DELETE CASCADE
);
COMMENT ON TABLE obol.price_tiers IS
    'What a price is when the prompt, cache reads and writes included, has more tokens: the figures for every token of such a call.';

CREATE TABLE obol.processes (
    process_id uuid PRIMARY KEY,
    lease_expires_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE obol.processes IS
    'One lease a serving process. When it lapses, any living process releases the holds of the dead one.';
