-- Whoever imported the same keys again would make their licenses and credits a second time.
DO $$
BEGIN
    IF EXISTS (SELECT FROM obol.imported_keys) THEN
        RAISE EXCEPTION 'there are imported keys, which no release before opens: this migration cannot be taken back';
    END IF;
END
$$;
DROP FUNCTION obol.find_imported_key, obol.import_license, obol.verify_imported_keys;
DROP TABLE obol.imported_keys;
DROP INDEX obol.license_keys_digest;
