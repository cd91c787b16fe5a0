DROP FUNCTION
    obol.archivable_through,
    obol.archive_entries,
    obol.archive_lines,
    obol.due_archives,
    obol.keep_sums,
    obol.list_archive_files,
    obol.list_archived,
    obol.prepare_archive,
    obol.refuse_archived,
    obol.show_archived,
    obol.show_sums,
    obol.verify_archived;
DROP TABLE obol.archived, obol.archived_files, obol.archived_days, obol.archived_usage;
ALTER TABLE obol.grants DROP COLUMN archived_starts, DROP COLUMN archived_lapsed, DROP COLUMN archived_drawn;
ALTER TABLE obol.payment_grants DROP COLUMN archived_voided, DROP COLUMN archived_taken;
