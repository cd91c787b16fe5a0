-- Refused by the constraints while there is an entry that the release before has no word for.
DROP FUNCTION
    obol.adjust_credits_v2,
    obol.book_part,
    obol.bring_up_to_date,
    obol.check_room,
    obol.describe_grants,
    obol.due_changes,
    obol.give_back,
    obol.grant_credits_v2,
    obol.list_draws,
    obol.list_grants,
    obol.list_grants_of,
    obol.list_open_grants,
    obol.lock_license,
    obol.refund_v2,
    obol.refundable,
    obol.verify_grants,
    obol.void_grant;
DROP TABLE obol.allotments, obol.grants;
ALTER TABLE obol.ledger_entries
    DROP CONSTRAINT ledger_entries_license_id_kind_cause_id_part_id_key,
    DROP CONSTRAINT ledger_entries_kind_check,
    DROP CONSTRAINT ledger_entries_sign_check,
    DROP CONSTRAINT ledger_entries_part_check,
    DROP COLUMN part_id,
    ADD UNIQUE (license_id, kind, cause_id),
    ADD CONSTRAINT ledger_entries_kind_check CHECK (kind IN ('grant', 'deduction', 'charge', 'refund', 'adjustment')),
    ADD CONSTRAINT ledger_entries_check1
        CHECK (CASE WHEN kind IN ('grant', 'refund') THEN amount >= 0
                    WHEN kind = 'adjustment' THEN amount <> 0
                    ELSE amount <= 0 END);
COMMENT ON TABLE obol.ledger_entries IS
    'Every change of a balance, only ever added. cause_id is the id of the grant, adjustment, deduction or hold; a refund names what it gives back. One charge a hold is the unique constraint.';
DROP INDEX obol.licenses_changes;
ALTER TABLE obol.licenses DROP COLUMN next_change_at, DROP COLUMN allotted_entry_no;
COMMENT ON TABLE obol.licenses IS
    'The owners of credits. Every charge is one update of one row here, so there is room on each page for new versions and no index on a column that changes. unpaid_tokens were let through in streams that broke off and count until unpaid_until.';
