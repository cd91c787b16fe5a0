DROP TABLE obol.limit_states;
ALTER TABLE obol.holds DROP COLUMN key_id, DROP COLUMN limited_by;
ALTER TABLE obol.ledger_entries DROP COLUMN key_id;
ALTER TABLE obol.license_keys
    DROP CONSTRAINT license_keys_license_id_key_id_key,
    DROP COLUMN key_id,
    DROP COLUMN name,
    DROP COLUMN limits,
    DROP COLUMN last_used_at,
    DROP COLUMN revoked_at;
COMMENT ON TABLE obol.license_keys IS
    'SHA-256 digests of the license keys; a license can have several while one is rotated. The keys themselves are stored nowhere.';
ALTER TABLE obol.licenses DROP COLUMN limits;
