"""The catalogs of Citus and the functions that `obol shard` calls, as far as it looks at them, in a plain PostgreSQL.
They write down what they were asked for, take what was granted on what they distribute, and look at what refers to a
table, as the engine does."""

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
CREATE TABLE public.moved (name regclass, number bigint);
CREATE FUNCTION public.take_grants(object text, acl aclitem[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE role regrole;
BEGIN
    FOR role IN SELECT DISTINCT a.grantee FROM aclexplode(acl) a WHERE a.grantee <> a.grantor LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', object, role);
    END LOOP;
END $$;
-- A table and all views lose what was granted on them.
CREATE FUNCTION public.move_table(p regclass) RETURNS void LANGUAGE plpgsql AS $$
DECLARE number bigint;
BEGIN
    PERFORM public.take_grants(format('TABLE %s', c.oid::regclass), c.relacl)
       FROM pg_class c WHERE c.oid = p OR c.relkind = 'v' AND c.relnamespace = 'obol'::regnamespace;
    EXECUTE format('SELECT count(*) FROM %s', p) INTO number;
    INSERT INTO public.moved VALUES (p, number);
END $$;
CREATE FUNCTION pg_catalog.create_reference_table(p regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO pg_dist_partition VALUES (p, 'n'); SELECT public.move_table(p) $$;
CREATE FUNCTION pg_catalog.citus_add_local_table_to_metadata(p regclass) RETURNS void LANGUAGE sql AS
    $$ INSERT INTO pg_dist_partition VALUES (p, 'n')
       ON CONFLICT (logicalrelid) DO UPDATE SET autoconverted = false;
       SELECT public.move_table(p) $$;
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
    PERFORM public.move_table(p);
END $$;
CREATE FUNCTION pg_catalog.create_distributed_function
    (p regprocedure, argument text DEFAULT NULL, colocate_with text DEFAULT 'default',
     force_delegation boolean DEFAULT NULL)
    RETURNS void LANGUAGE sql AS $$
    INSERT INTO pg_dist_object
    VALUES ('pg_proc'::regclass, p, (SELECT array_position(f.proargnames, argument) - 1 FROM pg_proc f WHERE f.oid = p),
            force_delegation)
    ON CONFLICT (objid) DO UPDATE SET distribution_argument_index = excluded.distribution_argument_index;
    SELECT public.take_grants('FUNCTION ' || p, f.proacl) FROM pg_proc f WHERE f.oid = p
    $$;
CREATE FUNCTION pg_catalog.truncate_local_data_after_distributing_table(p regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_constraint k WHERE k.confrelid = p AND k.conrelid <> p
                  AND NOT EXISTS (SELECT FROM pg_dist_partition d WHERE d.logicalrelid = k.conrelid)) THEN
        RAISE EXCEPTION 'cannot truncate a table referenced in a foreign key constraint by a local table';
    END IF;
    INSERT INTO public.truncated VALUES (p);
    EXECUTE format('TRUNCATE %s CASCADE', p);
END $$;
"""
