DROP FUNCTION obol.list_newest_licenses;
