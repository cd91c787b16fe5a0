CREATE TABLE obol.business_rollups (
    begins_at timestamptz PRIMARY KEY,
    is_final boolean NOT NULL,
    total numeric NOT NULL,
    granted numeric NOT NULL,
    charged numeric NOT NULL,
    refunded numeric NOT NULL,
    expired numeric NOT NULL,
    voided numeric NOT NULL,
    adjusted numeric NOT NULL,
    shortfall numeric NOT NULL
);
-- Of tables that are new, or of what there is little of.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX business_rollups_open ON obol.business_rollups (begins_at) WHERE NOT is_final;
COMMENT ON TABLE obol.business_rollups IS
    'What the entries of all licenses gave and took in each ten minutes, without a gap from the first to the newest row. Entries never change, so a row is counted when its time is over, and once more, for good, a day later: roll_up_business.';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX holds_unpaid ON obol.holds (ended_at) WHERE unpaid IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX grants_ending ON obol.grants (expires_at)
    WHERE credits_left > 0 AND expires_at IS NOT NULL AND voided_at IS NULL;

CREATE TABLE obol.verifications (
    is_whole boolean PRIMARY KEY,
    began_at timestamptz NOT NULL,
    ended_at timestamptz NOT NULL,
    actor text NOT NULL,
    finding_count bigint NOT NULL
);
COMMENT ON TABLE obol.verifications IS
    'The last check of the whole ledger, and the last one of what was new: when, by whom, and how much disagreed.';

-- A hundred at most, as its check says.
-- squawk-ignore prefer-bigint-over-int
ALTER TABLE obol.licenses ADD COLUMN most_own_keys integer NOT NULL DEFAULT 0 CHECK (most_own_keys BETWEEN 0 AND 100);
COMMENT ON COLUMN obol.licenses.most_own_keys IS
    'How many good keys of its own making whoever holds the license may have at once; 0: none may be made.';
ALTER TABLE obol.license_keys ADD COLUMN made_by uuid;
COMMENT ON COLUMN obol.license_keys.made_by IS
    'The key that made this one, for the holder of the license; null: an operator did.';
