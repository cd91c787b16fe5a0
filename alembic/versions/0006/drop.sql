DROP FUNCTION
    obol.digest_acts,
    obol.digest_entries,
    obol.list_heads,
    obol.recent_licenses,
    obol.settle_acts,
    obol.verify_acts,
    obol.verify_recent_acts,
    obol.verify_recent_grants,
    obol.verify_recent_holds,
    obol.verify_recent_ledger,
    obol.verify_recent_licenses,
    obol.verify_since;
DROP VIEW obol.named_acts;
DROP INDEX obol.ledger_entries_time, obol.admin_acts_time;
DROP TABLE obol.audit_starts;
