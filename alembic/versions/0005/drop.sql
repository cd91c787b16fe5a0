DROP FUNCTION
    obol.check_reader,
    obol.due_rollups,
    obol.entry_span,
    obol.list_entries_v2,
    obol.roll_up_usage,
    obol.show_receipt,
    obol.show_usage,
    obol.verify_usage;
DROP VIEW obol.entry_usage;
DROP TABLE obol.usage_rollups, obol.usage_watermarks;
