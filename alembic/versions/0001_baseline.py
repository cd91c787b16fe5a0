"""The ledger: licenses, keys, holds, entries, idempotency keys, prices, leases.

Revision ID: 0001
Revises:
"""

from alembic import op
from service.migrations import drop_functions, revoke_all_from, run_snapshots

revision = "0001"
down_revision = None

FUNCTIONS = [
    "charge_for",
    "check_key",
    "check_active",
    "affordable_amount",
    "claim_key",
    "free_key",
    "book_entry",
    "book_charge",
    "deduct",
    "deduct_credits",
    "replay_hold",
    "open_hold",
    "find_hold",
    "refuse_hold",
    "settle_hold",
    "release_hold",
    "is_due",
    "release_expired_holds",
    "heartbeat",
    "note_deliveries",
    "purge_expired",
    "grant_credits",
    "create_license",
    "set_license_status",
    "rotate_license_key",
    "refund",
    "refund_withheld",
    "find_license",
    "list_entries",
    "verify",
]

# Roles belong to the whole cluster: made if missing, never dropped.
ROLE = """
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'obol_service') THEN
        CREATE ROLE obol_service NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    -- A migration of another database of this cluster made it in the same moment.
    NULL;
END
$$
"""

TABLES = """
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
    fingerprint bytea NOT NULL,
    created_at timestamptz NOT NULL,
    CHECK (held <= balance)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
COMMENT ON TABLE obol.licenses IS
    'The owners of credits. Every charge is one update of one row here, so there is room on each page for new versions and no index on a column that changes.';

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
    PRIMARY KEY (license_id, hold_id),
    CHECK ((process_id IS NULL) = (expires_at IS NOT NULL)),
    CHECK ((state = 'held') = (ended_at IS NULL))
) WITH (fillfactor = 80);
CREATE INDEX holds_open ON obol.holds (process_id, expires_at) WHERE state = 'held';
COMMENT ON TABLE obol.holds IS
    'Credits set aside for a call in flight: of a process (it ends with the lease of the process) or of a client (it ends at expires_at).';

CREATE TABLE obol.ledger_entries (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    entry_no bigint NOT NULL CHECK (entry_no > 0),
    kind text NOT NULL CHECK (kind IN ('grant', 'deduction', 'charge', 'refund')),
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
    CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount >= 0 ELSE amount <= 0 END)
);
COMMENT ON TABLE obol.ledger_entries IS
    'Every change of a balance, only ever added. cause_id is the id of the grant, deduction or hold; a refund names what it gives back. One charge a hold is the unique constraint.';

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
    'What a key names: the deduction, hold or grant that it made. Freed (in_force = false) when its hold ended without a charge; the answer is ciphertext.';

CREATE TABLE obol.prices (
    model_pattern text NOT NULL,
    effective_from timestamptz NOT NULL,
    input bigint NOT NULL CHECK (input BETWEEN 0 AND 1000000000000),
    output bigint NOT NULL CHECK (output BETWEEN 0 AND 1000000000000),
    cache_write_5m bigint NOT NULL CHECK (cache_write_5m BETWEEN 0 AND 1000000000000),
    cache_write_1h bigint NOT NULL CHECK (cache_write_1h BETWEEN 0 AND 1000000000000),
    cache_read bigint NOT NULL CHECK (cache_read BETWEEN 0 AND 1000000000000),
    PRIMARY KEY (model_pattern, effective_from)
);
COMMENT ON TABLE obol.prices IS
    'The price book: credits per million tokens of each class. A pattern is a model name, or the beginning of one and a *.';
INSERT INTO obol.prices (model_pattern, effective_from, input, output, cache_write_5m, cache_write_1h, cache_read)
VALUES ('*', '2026-01-01T00:00:00Z', 1000000, 1000000, 1000000, 1000000, 1000000);

CREATE TABLE obol.processes (
    process_id uuid PRIMARY KEY,
    lease_expires_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL
) WITH (fillfactor = 50);
COMMENT ON TABLE obol.processes IS
    'One lease a serving process. When it lapses, any living process releases the holds of the dead one.';

CREATE VIEW obol.license_overview AS
    SELECT l.license_id, l.name,
           CASE WHEN l.status = 'active' AND l.expires_at <= clock_timestamp() THEN 'expired'
                ELSE l.status END AS status,
           l.expires_at, l.balance, l.held,
           l.balance - l.held AS available, l.created_at
      FROM obol.licenses l;

CREATE VIEW obol.undelivered_holds AS
    SELECT h.license_id, h.hold_id, -e.amount AS charge, h.model, h.ended_at AS settled_at
      FROM obol.holds h
      JOIN obol.ledger_entries e
        ON e.license_id = h.license_id AND e.kind = 'charge' AND e.cause_id = h.hold_id
     WHERE h.state = 'settled' AND h.process_id IS NOT NULL
       AND h.delivered_at IS NULL
       AND NOT EXISTS (SELECT FROM obol.idempotency_keys i
                        WHERE i.license_id = h.license_id AND i.scope = 'license'
                          AND i.idempotency_key = h.idempotency_key AND i.cause_id = h.hold_id
                          AND i.answer IS NOT NULL AND i.answer_expires_at > clock_timestamp())
       AND NOT EXISTS (SELECT FROM obol.ledger_entries r
                        WHERE r.license_id = h.license_id AND r.kind = 'refund' AND r.cause_id = h.hold_id);

CREATE VIEW obol.price_book AS
    SELECT p.model_pattern, p.effective_from,
           jsonb_build_object('input', p.input, 'output', p.output, 'cache_write_5m', p.cache_write_5m,
                              'cache_write_1h', p.cache_write_1h, 'cache_read', p.cache_read) AS price
      FROM obol.prices p;

CREATE VIEW obol.schema_revision AS
    SELECT v.version_num FROM obol.alembic_version v;

GRANT SELECT ON obol.license_overview, obol.undelivered_holds, obol.price_book, obol.schema_revision TO obol_service
"""


def upgrade() -> None:
    op.execute(ROLE)
    for statement in TABLES.split(";\n"):
        op.execute(statement.replace(":", r"\:"))
    run_snapshots(revision, FUNCTIONS)
    revoke_all_from("anon", "authenticated", "service_role")


def downgrade() -> None:
    op.execute("DROP VIEW obol.schema_revision, obol.price_book, obol.undelivered_holds, obol.license_overview")
    drop_functions(reversed(FUNCTIONS))
    op.execute(
        "DROP TABLE obol.processes, obol.prices, obol.idempotency_keys, obol.ledger_entries, "
        "obol.holds, obol.license_keys, obol.licenses"
    )
