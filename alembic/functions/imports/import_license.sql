-- Takes a license over from another system: with the key that it has there, known by its SHA-256, and the credits
-- that are left, as an opening grant, which needs the scope for grants too. p_license_id is a new one. Once per key:
-- the same again gives the license that there is and changes nothing, whatever became of it since; result is
-- 'imported' or 'unchanged'. p_dry_run: the same answer, with license_id null in place of a new one, and nothing written.
-- Errors, in order: ADMIN_FORBIDDEN, INVALID_AMOUNT (credits), ALREADY_EXISTS (the key was imported with other values, of
-- which "field" names the first; a license has the key, that was not imported; another has the external id); 40001 means
-- ask again with the same id.
CREATE OR REPLACE FUNCTION obol.import_license(
    p_license_id uuid,
    p_key_digest bytea,
    p_credits bigint,
    p_status text,
    p_expires_at timestamptz,
    p_external_id text,
    p_name text,
    p_dry_run boolean,
    p_token_digest bytea,
    p_request_id text
) RETURNS TABLE (license_id uuid, result text)
LANGUAGE plpgsql
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '5s'
AS $$
#variable_conflict use_column
DECLARE
    v_actor text := obol.check_token(p_token_digest, 'manage');
    v_values jsonb := jsonb_build_object(
        'credits', p_credits, 'status', p_status, 'expires_at', p_expires_at AT TIME ZONE 'UTC',
        'external_id', p_external_id, 'name', p_name);
    v_now timestamptz := clock_timestamp();
    v_taken text;
    v_key obol.imported_keys;
    v_others text[];
BEGIN
    IF p_credits IS NULL OR p_credits < 0 THEN
        PERFORM obol.refuse_amount('credits', 0);
    ELSIF p_credits > 0 THEN
        PERFORM obol.check_token(p_token_digest, 'grant');
    END IF;

    -- This is looked at before the imported keys: of another import of the same, that commits in between, the key is
    -- seen with all the rest.
    v_taken := CASE WHEN EXISTS (SELECT FROM obol.license_keys k WHERE k.key_digest = p_key_digest) THEN 'key'
                    WHEN EXISTS (SELECT FROM obol.external_ids x WHERE x.external_id = p_external_id) THEN 'external_id'
               END;
    SELECT i.* INTO v_key FROM obol.imported_keys i WHERE i.key_digest = p_key_digest;
    IF FOUND THEN
        SELECT array_agg(n.name ORDER BY n.place) INTO v_others
          FROM unnest(ARRAY['credits', 'status', 'expires_at', 'external_id', 'name']) WITH ORDINALITY AS n (name, place)
         WHERE v_key.imported -> n.name IS DISTINCT FROM v_values -> n.name;
        IF v_others IS NOT NULL THEN
            RAISE EXCEPTION 'ALREADY_EXISTS: the key was imported before, as license %, with another %',
                            v_key.license_id, array_to_string(v_others, ' and another ')
                USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', v_others[1]),
                      HINT = 'Change that license itself, or import what was imported.';
        END IF;
        -- A call whose answer was lost is asked again with its id.
        RETURN QUERY SELECT v_key.license_id, CASE WHEN v_key.license_id = p_license_id THEN 'imported' ELSE 'unchanged' END;
        RETURN;
    END IF;
    IF v_taken = 'key' THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: a license has this key'
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'key'), HINT = 'It need not be imported.';
    ELSIF v_taken = 'external_id' THEN
        RAISE EXCEPTION 'ALREADY_EXISTS: another license has the external id %', p_external_id
            USING ERRCODE = 'OB449', DETAIL = jsonb_build_object('field', 'external_id'),
                  HINT = 'Look that license up by it, or use another one.';
    END IF;
    IF p_dry_run THEN
        RETURN QUERY SELECT NULL::uuid, 'imported';
        RETURN;
    END IF;

    -- Another import that came between is found by the next try.
    INSERT INTO obol.imported_keys (key_digest, license_id, imported, imported_at)
    VALUES (p_key_digest, p_license_id, v_values, v_now)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        PERFORM obol.ask_again('the key was imported');
    END IF;
    INSERT INTO obol.licenses (license_id, name, status, expires_at, fingerprint, created_at)
    VALUES (p_license_id, p_name, p_status, p_expires_at, sha256(convert_to(v_values::text, 'UTF8')), v_now);
    INSERT INTO obol.license_keys (license_id, key_digest, created_at, name)
    VALUES (p_license_id, p_key_digest, v_now, 'imported');
    IF p_external_id IS NOT NULL THEN
        INSERT INTO obol.external_ids (external_id, license_id)
        VALUES (p_external_id, p_license_id)
        ON CONFLICT DO NOTHING;
        IF NOT FOUND THEN
            PERFORM obol.ask_again('the external id was taken');
        END IF;
    END IF;
    IF p_credits > 0 THEN
        PERFORM obol.grant_credits_v2(p_license_id, p_license_id, p_credits, 50, NULL, NULL, 'import', 'opening grant',
                                      NULL, NULL, p_token_digest, p_request_id);
    END IF;
    PERFORM obol.note_act(p_license_id, v_actor, 'import_license', NULL, v_values, p_request_id);
    RETURN QUERY SELECT p_license_id, 'imported';
END
$$;

REVOKE ALL ON FUNCTION obol.import_license(uuid, bytea, bigint, text, timestamptz, text, text, boolean, bytea, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION obol.import_license(uuid, bytea, bigint, text, timestamptz, text, text, boolean, bytea, text) TO obol_service;
