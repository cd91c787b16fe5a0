ALTER TABLE obol.licenses
    ADD COLUMN next_change_at timestamptz NOT NULL DEFAULT 'infinity',
    ADD COLUMN allotted_entry_no bigint NOT NULL DEFAULT 0;
-- No charge changes it, so charges stay updates in their page.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX licenses_changes ON obol.licenses (next_change_at) WHERE next_change_at < 'infinity';
COMMENT ON TABLE obol.licenses IS
    'The owners of credits. Every charge is one update of one row here, so there is room on each page for new versions and no index on a column that a charge changes. unpaid_tokens were let through in streams that broke off and count until unpaid_until. next_change_at is when the set of grants changes next; what was used up to the entry allotted_entry_no is allotted to them.';

CREATE TABLE obol.grants (
    license_id uuid NOT NULL REFERENCES obol.licenses,
    grant_id uuid NOT NULL,
    amount bigint NOT NULL CHECK (amount > 0),
    credits_left bigint NOT NULL CHECK (credits_left >= 0),
    lapsed bigint NOT NULL DEFAULT 0 CHECK (lapsed >= 0),
    priority bigint NOT NULL CHECK (priority BETWEEN 0 AND 100),
    starts_at timestamptz NOT NULL,
    expires_at timestamptz CHECK (expires_at > starts_at),
    voided_at timestamptz,
    has_started boolean NOT NULL,
    reason text NOT NULL,
    reference text,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (license_id, grant_id),
    CHECK (credits_left + lapsed <= amount)
);
CREATE INDEX grants_open ON obol.grants (license_id) WHERE credits_left > 0;
COMMENT ON TABLE obol.grants IS
    'Credits with a lifetime. credits_left is as of the last change of the license''s set of grants: what was used since is in the balance and not yet allotted. lapsed is what expiry and void took.';

CREATE TABLE obol.allotments (
    license_id uuid NOT NULL,
    grant_id uuid NOT NULL,
    first_entry_no bigint NOT NULL CHECK (first_entry_no >= 0),
    last_entry_no bigint NOT NULL,
    balance_from bigint NOT NULL,
    balance_to bigint NOT NULL,
    PRIMARY KEY (license_id, last_entry_no, grant_id),
    FOREIGN KEY (license_id, grant_id) REFERENCES obol.grants,
    CHECK (first_entry_no <= last_entry_no AND balance_from <> balance_to)
);
COMMENT ON TABLE obol.allotments IS
    'What entries drew on. From first_entry_no to last_entry_no the set of grants was the same, and the credits that took the balance from balance_from down to balance_to were of this grant; a refund, by itself, goes up. From entry 0: of before grants had lifetimes, where only the sum is known.';

-- Nothing is sold while the database is at another revision than the service, so what these locks keep out is
-- only the end of calls that run: they ask again for as long as their lease lives.
ALTER TABLE obol.ledger_entries
    ADD COLUMN part_id uuid,
    -- squawk-ignore ban-drop-constraint
    DROP CONSTRAINT ledger_entries_license_id_kind_cause_id_key,
    -- squawk-ignore ban-drop-constraint
    DROP CONSTRAINT ledger_entries_kind_check,
    -- squawk-ignore ban-drop-constraint
    DROP CONSTRAINT ledger_entries_check1,
    -- squawk-ignore constraint-missing-not-valid, disallowed-unique-constraint
    ADD UNIQUE NULLS NOT DISTINCT (license_id, kind, cause_id, part_id),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT ledger_entries_kind_check
        CHECK (kind IN ('grant', 'deduction', 'charge', 'refund', 'expiry', 'void', 'adjustment')),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT ledger_entries_sign_check
        CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount >= 0
                    WHEN kind = 'adjustment' THEN amount <> 0
                    ELSE amount <= 0 END),
    -- squawk-ignore constraint-missing-not-valid
    ADD CONSTRAINT ledger_entries_part_check
        CHECK (part_id IS NULL OR kind IN ('refund', 'expiry', 'void'));
COMMENT ON TABLE obol.ledger_entries IS
    'Every change of a balance, only ever added. cause_id is the id of the grant, adjustment, deduction or hold; a refund names what it gives back, and expiry and void the grant that they took from, each possibly in several parts. One charge a hold is the unique constraint.';
