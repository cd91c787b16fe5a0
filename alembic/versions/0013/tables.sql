CREATE TABLE obol.archived (
    license_id uuid PRIMARY KEY REFERENCES obol.licenses,
    last_entry_no bigint NOT NULL CHECK (last_entry_no > 0),
    balance bigint NOT NULL CHECK (balance >= 0),
    last_entry_at timestamptz NOT NULL,
    acts_until timestamptz NOT NULL,
    digest bytea NOT NULL CHECK (length(digest) = 32)
);
COMMENT ON TABLE obol.archived IS
    'Where the ledger of a license begins in the tables: after last_entry_no, at balance. The entries up to that one are in archived_files; digest is SHA-256 over the digest before the last file, empty before the first, and that of the file. Acts up to acts_until are of archived entries.';

CREATE TABLE obol.archived_files (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    first_entry_no bigint NOT NULL CHECK (first_entry_no > 0),
    last_entry_no bigint NOT NULL,
    file_digest bytea NOT NULL CHECK (length(file_digest) = 32),
    archived_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, last_entry_no),
    CHECK (first_entry_no <= last_entry_no)
);
COMMENT ON TABLE obol.archived_files IS
    'Which entries are in which file of `obol archive`, and its SHA-256.';

CREATE TABLE obol.archived_days (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    day date NOT NULL,
    total numeric NOT NULL,
    granted numeric NOT NULL,
    charged numeric NOT NULL,
    refunded numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    adjusted numeric NOT NULL,
    shortfall numeric NOT NULL,
    PRIMARY KEY (license_id, day)
);
CREATE INDEX archived_days_day ON obol.archived_days (day);
COMMENT ON TABLE obol.archived_days IS
    'What the archived entries of a license gave and took by day (UTC), as amounts above zero (total and adjusted: of either sign): with it verify still compares the business by time with the entries that there are.';

CREATE TABLE obol.archived_usage (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    day date NOT NULL,
    model text,
    key_id uuid,
    calls bigint NOT NULL,
    credits numeric NOT NULL,
    input_tokens numeric NOT NULL,
    output_tokens numeric NOT NULL,
    cache_write_5m_tokens numeric NOT NULL,
    cache_write_1h_tokens numeric NOT NULL,
    cache_read_tokens numeric NOT NULL,
    refunded numeric NOT NULL,
    UNIQUE NULLS NOT DISTINCT (license_id, day, model, key_id)
);
COMMENT ON TABLE obol.archived_usage IS
    'How much of the roll-ups of usage is of archived entries: with it verify still compares the roll-ups with the entries that there are.';

ALTER TABLE obol.grants
    ADD COLUMN archived_starts bigint NOT NULL DEFAULT 0,
    ADD COLUMN archived_lapsed bigint NOT NULL DEFAULT 0,
    ADD COLUMN archived_drawn bigint NOT NULL DEFAULT 0;
ALTER TABLE obol.payment_grants
    ADD COLUMN archived_voided bigint NOT NULL DEFAULT 0,
    ADD COLUMN archived_taken bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN obol.payment_grants.archived_voided IS 'How much of it archived entries voided, whoever did.';
COMMENT ON COLUMN obol.payment_grants.archived_taken IS
    'How much of it archived entries took in parts, because of the money.';
COMMENT ON COLUMN obol.grants.archived_starts IS 'How many archived entries started it: 1 at most.';
COMMENT ON COLUMN obol.grants.archived_lapsed IS 'How much of what lapsed archived entries took.';
COMMENT ON COLUMN obol.grants.archived_drawn IS 'How much archived allotments drew on it.';

-- A function that no release had, with more columns from here on.
-- squawk-ignore ban-drop-function
DROP FUNCTION obol.list_heads;
