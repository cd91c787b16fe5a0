ALTER TABLE obol.licenses ADD COLUMN limits jsonb;

-- A default that is made anew for each key rewrites the table, once: a few keys a license, no money in it.
-- The same lock is held for the index, which is as short.
ALTER TABLE obol.license_keys
    -- squawk-ignore adding-field-with-default
    ADD COLUMN key_id uuid NOT NULL DEFAULT gen_random_uuid(),
    ADD COLUMN name text NOT NULL DEFAULT '',
    ADD COLUMN limits jsonb,
    ADD COLUMN last_used_at timestamptz,
    ADD COLUMN revoked_at timestamptz,
    -- squawk-ignore disallowed-unique-constraint, constraint-missing-not-valid
    ADD UNIQUE (license_id, key_id);
COMMENT ON TABLE obol.license_keys IS
    'SHA-256 digests of the license keys; a license can have several. The keys themselves are stored nowhere. last_used_at is right to the hour. limits is {"requests_per_minute", "concurrent_holds", "credits_per_day", "credits_per_month", "models"}, as in licenses, with those that are set; null: none.';

ALTER TABLE obol.holds ADD COLUMN key_id uuid, ADD COLUMN limited_by uuid[];
COMMENT ON COLUMN obol.holds.key_id IS 'The key that it was opened with; null: opened before keys had ids.';
COMMENT ON COLUMN obol.holds.limited_by IS
    'The keys and the license whose limits the hold counted in, on the day and in the month (UTC) of opened_at.';

ALTER TABLE obol.ledger_entries ADD COLUMN key_id uuid;
COMMENT ON COLUMN obol.ledger_entries.key_id IS
    'Of a charge or a deduction, the key that made it; null: an operator did, or it is from before keys had ids.';

CREATE TABLE obol.limit_states (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    subject_id uuid NOT NULL,
    next_call_at timestamptz NOT NULL DEFAULT '-infinity',
    open_holds bigint NOT NULL DEFAULT 0 CHECK (open_holds >= 0),
    day date NOT NULL,
    day_credits numeric NOT NULL DEFAULT 0 CHECK (day_credits >= 0),
    month date NOT NULL,
    month_credits numeric NOT NULL DEFAULT 0 CHECK (month_credits >= 0),
    PRIMARY KEY (license_id, subject_id)
) WITH (fillfactor = 50);
COMMENT ON TABLE obol.limit_states IS
    'What has been used of limits: a row for each key (subject_id is its key_id) and each license (its license_id) that has or had one, written under the lock of the license. next_call_at is when the calls of requests_per_minute would have come if they had been evenly spread (GCRA''s theoretical arrival time). Credits are charges, deductions and what open holds set aside.';

-- An inner function, with one more argument from here on: those that call it without find it as they did.
-- squawk-ignore ban-drop-function
DROP FUNCTION obol.book_entry;

-- Functions that no release had, with more arguments or columns from here on.
-- squawk-ignore ban-drop-function
DROP FUNCTION obol.create_license_v2, obol.set_license_v2, obol.list_licenses, obol.show_license,
    obol.rotate_license_key_v2;
