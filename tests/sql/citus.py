"""The catalogs of Citus and the functions that `obol shard` calls, as far as it looks at them, in a plain PostgreSQL.
They only write down what they were asked for."""

FAKE = """
SET allow_system_table_mods = on;
INSERT INTO pg_catalog.pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
     VALUES (99999, 'citus', 10, 'pg_catalog'::regnamespace, false, '13.2');
CREATE TABLE pg_catalog.pg_dist_node (nodename text, isactive boolean, shouldhaveshards boolean);
CREATE TABLE pg_catalog.pg_dist_partition
    (logicalrelid regclass PRIMARY KEY, partmethod "char", colocate_with text, autoconverted boolean DEFAULT false);
CREATE TABLE pg_catalog.pg_dist_object
    (classid oid, objid oid PRIMARY KEY, distribution_argument_index integer, force_delegation boolean);
GRANT SELECT ON pg_catalog.pg_dist_node, pg_catalog.pg_dist_partition, pg_catalog.pg_dist_object TO PUBLIC;
INSERT INTO pg_catalog.pg_dist_node VALUES ('worker', true, true);
CREATE TABLE public.truncated (name regclass);
CREATE FUNCTION pg_catalog.create_reference_table(p regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO pg_dist_partition VALUES (p, 'n') $$;
CREATE FUNCTION pg_catalog.citus_add_local_table_to_metadata(p regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO pg_dist_partition VALUES (p, 'n')
       ON CONFLICT (logicalrelid) DO UPDATE SET autoconverted = false $$;
CREATE FUNCTION pg_catalog.create_distributed_table
    (p regclass, distribution_column text, colocate_with text, shard_count integer DEFAULT NULL)
    RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    -- As the extension: what it refers to has to be there.
    IF EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = p AND k.contype = 'f'
                  AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = k.confrelid)) THEN
        RAISE EXCEPTION '% refers to what is not distributed', p;
    END IF;
    INSERT INTO pg_dist_partition VALUES (p, 'h', colocate_with);
END $$;
CREATE FUNCTION pg_catalog.create_distributed_function
    (p regprocedure, argument text DEFAULT NULL, colocate_with text DEFAULT 'default',
     force_delegation boolean DEFAULT NULL)
    RETURNS void LANGUAGE sql AS $$
    INSERT INTO pg_dist_object
    VALUES ('pg_proc'::regclass, p, (SELECT array_position(f.proargnames, argument) - 1 FROM pg_proc f WHERE f.oid = p),
            force_delegation)
    ON CONFLICT (objid) DO UPDATE SET distribution_argument_index = excluded.distribution_argument_index
    $$;
CREATE FUNCTION pg_catalog.truncate_local_data_after_distributing_table(p regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO public.truncated VALUES (p) $$;
"""
