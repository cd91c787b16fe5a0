-- Roles belong to the whole cluster: made if missing, never dropped.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'obol_service') THEN
        CREATE ROLE obol_service NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    -- A migration of another database of this cluster made it in the same moment.
    NULL;
END
$$;
