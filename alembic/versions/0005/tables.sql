CREATE TABLE obol.usage_rollups (
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
COMMENT ON TABLE obol.usage_rollups IS
    'What the entries of a license up to its watermark say of its usage, by day (UTC), model and key. Only a copy that can be read quickly: roll_up_usage makes it out of entry_usage, and verify compares.';

CREATE TABLE obol.usage_watermarks (
    license_id uuid PRIMARY KEY REFERENCES obol.licenses,
    entry_no bigint NOT NULL CHECK (entry_no >= 0)
) WITH (fillfactor = 50);
COMMENT ON TABLE obol.usage_watermarks IS
    'How far the entries of a license are rolled up. A row of its own, so that the background never waits for a charge, nor a charge for it; none: nothing is.';
