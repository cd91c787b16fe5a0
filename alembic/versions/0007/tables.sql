CREATE TABLE obol.imported_keys (
    key_digest bytea PRIMARY KEY CHECK (length(key_digest) = 32),
    license_id uuid NOT NULL UNIQUE,
    imported jsonb NOT NULL,
    imported_at timestamptz NOT NULL
);
COMMENT ON TABLE obol.imported_keys IS
    'SHA-256 digests of the license keys that were imported from another system, which do not name their license as our own do: where to look for it, and nothing more; whether the key is good is for license_keys to say. imported is what was said of the license then: {"credits", "status", "expires_at", "external_id", "name"}. Rows are only ever added, and never changed, so that who has read one may keep it. A table of its own, and without a foreign key, for the reasons of external_ids.';

-- For imports alone: a key that a license has already is not imported for another. No charge changes it.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX license_keys_digest ON obol.license_keys (key_digest);
