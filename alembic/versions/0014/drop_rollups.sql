DROP FUNCTION obol.due_rollups_v2;
