-- That imported keys lead to the licenses that they are keys of: see verify.
CREATE OR REPLACE FUNCTION obol.verify_imported_keys()
RETURNS TABLE (license_id uuid, rule text, detail text)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT i.license_id, 'an imported key is a key of its license',
           format('its license has no key of the digest that was imported at %s', i.imported_at)
      FROM obol.imported_keys i
     WHERE NOT EXISTS (SELECT FROM obol.license_keys k
                        WHERE k.license_id = i.license_id AND k.key_digest = i.key_digest)
    UNION ALL
    SELECT k.license_id, 'an imported key is a key of no other license',
           format('key %s is the imported key of license %s', k.key_id, i.license_id)
      FROM obol.license_keys k
      JOIN obol.imported_keys i ON i.key_digest = k.key_digest
     WHERE i.license_id <> k.license_id
$$;

REVOKE ALL ON FUNCTION obol.verify_imported_keys() FROM PUBLIC;
