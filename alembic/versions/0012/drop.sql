DROP FUNCTION
    obol.check_key_maker,
    obol.create_own_key,
    obol.list_own_keys,
    obol.list_processes,
    obol.list_verifications,
    obol.note_verification,
    obol.revoke_own_key,
    obol.roll_up_business,
    obol.set_own_key,
    obol.set_own_keys,
    obol.show_limits,
    obol.sum_expiring,
    obol.verify_business;
DROP VIEW obol.entry_business;
DROP TABLE obol.business_rollups, obol.verifications;
DROP INDEX obol.holds_unpaid, obol.grants_ending;
ALTER TABLE obol.license_keys DROP COLUMN made_by;
ALTER TABLE obol.licenses DROP COLUMN most_own_keys;
