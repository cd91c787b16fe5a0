"""`obol shard`: what it asks of the catalogs, on a plain PostgreSQL with stand-ins for those of Citus."""

import os
import sys
from pathlib import Path
from uuid import uuid4

import pytest

from service.db import Database
from service.repository import ledger, sharding

sys.path.insert(0, str(Path(__file__).parent.parent / "sql"))

from citus import FAKE

GOLDEN = Path(__file__).parent / "golden" / "shard.sql"
DONE = "-- All of the schema is distributed."

# Functions that the service may call.
GRANTED = """
    SELECT p.oid::regprocedure::text FROM pg_proc p, aclexplode(p.proacl) a
     WHERE p.pronamespace = 'obol'::regnamespace AND a.grantee = 'obol_service'::regrole ORDER BY 1
"""
# Where a run is interrupted: at a row of this table, of which this is true.
BREAKS = [
    pytest.param(("pg_dist_partition", f"NEW.logicalrelid = 'obol.{table}'::regclass"), id=table)
    for table in ("prices", "price_tiers", "grants", "holds", "usage_watermarks", "processes")
] + [
    pytest.param(("pg_dist_object", "NEW.objid::regprocedure::text LIKE '%.heartbeat(%'"), id="a function"),
    pytest.param(("public.truncated", "NEW.name = 'obol.ledger_entries'::regclass"), id="a local copy"),
    pytest.param(("public.truncated", "NEW.name = 'obol.licenses'::regclass"), id="the last local copy"),
]

pytestmark = pytest.mark.tampers


def filled_tables(sql):
    """Those that have rows on this node, and how many."""
    tables = sql("SELECT relid::regclass::text FROM pg_stat_user_tables WHERE schemaname = 'obol'")
    counted = {name: sql(f"SELECT count(*) FROM {name}")[0][0] for (name,) in tables}
    return {name: number for name, number in counted.items() if number}


def steps_of(said):
    """What a run has printed besides its grants."""
    return [line for line in said.out.splitlines() if not line.startswith("GRANT ")]


# A database that other tests have had before keeps the files of what they deleted.
NEVER_WRITTEN = """
    DO $$
    DECLARE
        v_table text;
        v_is_empty boolean;
    BEGIN
        FOR v_table IN SELECT c.oid::regclass FROM pg_class c
                        WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'r' LOOP
            EXECUTE format('SELECT NOT EXISTS (SELECT FROM %s)', v_table) INTO v_is_empty;
            IF v_is_empty THEN
                EXECUTE format('TRUNCATE %s CASCADE', v_table);
            END IF;
        END LOOP;
    END $$
"""


@pytest.fixture
def citus(monkeypatch, sql):
    """A database of a cluster, as far as the catalogs say; its settings are those of the test's server."""
    sql(FAKE)
    sql(NEVER_WRITTEN)
    for name, wanted in (("wal_level", "logical"), ("max_prepared_transactions", "300")):
        missing = str(sharding._MISSING).replace(f"pg_catalog.current_setting('{name}')", f"'{wanted}'")
        monkeypatch.setattr(sharding, "_MISSING", sharding.text(missing))


def test_the_statements_are_those_that_were_looked_at(citus, obol, sql):
    said = obol("shard", "--dry-run")

    if "UPDATE_GOLDEN" in os.environ:
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(said.out)
    assert (said.code, said.err) == (0, "")
    assert said.out == GOLDEN.read_text()
    assert sql("SELECT count(*) FROM pg_dist_partition") == [(0,)]


def test_all_is_distributed_and_then_nothing_is_left(citus, obol, sql, db, new_license):
    new_license()
    said = obol("shard")

    assert (said.code, said.err) == (0, "")
    assert DONE not in said.out
    assert "truncate_local_data_after_distributing_table('obol.ledger_entries')" in said.out
    assert ("obol.licenses",) in sql("SELECT name::text FROM public.truncated")
    placed = dict(sql("SELECT logicalrelid::text, partmethod FROM pg_dist_partition"))
    assert placed["obol.ledger_entries"] == "h"
    assert placed["obol.processes"] == placed["obol.external_ids"] == placed["obol.prices"] == "n"
    assert steps_of(obol("shard")) == [DONE]
    assert sharding.left_out(db) == []


def test_what_a_later_migration_makes_is_distributed_by_the_next_run(citus, obol, sql, db):
    obol("shard")
    sql("""
        CREATE TABLE obol.more (license_id uuid REFERENCES obol.licenses, n integer, PRIMARY KEY (license_id, n));
        CREATE FUNCTION obol.do_more(p_license_id uuid) RETURNS void LANGUAGE sql AS '';
        UPDATE pg_dist_object SET distribution_argument_index = NULL
         WHERE objid = (SELECT oid FROM pg_proc WHERE proname = 'find_license')
    """)

    assert sharding.left_out(db) == ["more", "obol.do_more(uuid)", "obol.find_license(uuid,bytea)"]
    first, second, third = steps_of(obol("shard"))
    assert first == "SELECT create_distributed_table('obol.more', 'license_id', colocate_with => 'obol.licenses');"
    assert "'obol.do_more(uuid)', 'p_license_id', colocate_with := 'obol.licenses', force_delegation := true" in second
    assert "obol.find_license" in third
    assert sharding.left_out(db) == []


def test_rows_that_were_deleted_are_left_behind_by_no_run(citus, obol, sql, new_license, db):
    ledger.deduct(db, new_license().key, uuid4(), amount=1)
    sql("DELETE FROM obol.ledger_entries")
    assert (
        "SELECT truncate_local_data_after_distributing_table('obol.ledger_entries');" in obol("shard").out.splitlines()
    )
    assert steps_of(obol("shard")) == [DONE]


def test_what_the_extension_has_taken_up_by_itself_is_placed(citus, obol, sql):
    obol("shard")
    sql("UPDATE pg_dist_partition SET autoconverted = true WHERE logicalrelid = 'obol.processes'::regclass")

    assert obol("shard").out.splitlines()[0] == "SELECT citus_add_local_table_to_metadata('obol.processes');"


def test_each_run_grants_all_that_the_migrations_grant(citus, obol, sql):
    """And nothing else: what one of them had granted and a later one took is not given again."""
    before = sql(GRANTED)
    grants = [line for line in obol("shard").out.splitlines() if line.startswith("GRANT ")]

    assert len(grants) == len(set(grants)) == len(before) + 1
    assert sql(GRANTED) == before
    sql("REVOKE ALL ON ALL FUNCTIONS IN SCHEMA obol FROM obol_service; REVOKE ALL ON SCHEMA obol FROM obol_service")
    assert obol("shard").out.splitlines() == [*grants, DONE]
    assert sql(GRANTED) == before
    assert sql("SELECT has_schema_privilege('obol_service', 'obol', 'USAGE')") == [(True,)]


def test_what_an_operator_has_granted_stays(citus, obol, sql):
    sql("GRANT EXECUTE ON FUNCTION obol.deduct_credits(text, bigint, text, text) TO pg_monitor")
    sql("GRANT SELECT ON obol.prices, obol.price_book TO pg_monitor")
    lines = obol("shard").out.splitlines()

    step = lines.index("SELECT create_distributed_function('obol.deduct_credits(text,bigint,text,text)');")
    assert lines[step + 1] == "GRANT EXECUTE ON FUNCTION obol.deduct_credits(text,bigint,text,text) TO pg_monitor;"
    step = lines.index("SELECT create_reference_table('obol.prices');")
    assert lines[step + 1] == "GRANT SELECT ON obol.prices TO pg_monitor;"
    assert sql("SELECT has_table_privilege('pg_monitor', 'obol.price_book', 'SELECT')") == [(True,)]
    assert sql(GRANTED.replace("obol_service", "pg_monitor")) == [("obol.deduct_credits(text,bigint,text,text)",)]


@pytest.fixture(params=BREAKS)
def broken(request, sql):
    """A run ends before the statement that begins like this; `sql(broken)` mends it."""
    sql("CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no worker'; END $$")
    table, condition = request.param
    sql(f"CREATE TRIGGER fail BEFORE INSERT ON {table} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION public.fail()")
    return f"DROP TRIGGER fail ON {table}"


def test_a_run_that_fails_says_why_and_the_next_one_makes_it_whole(citus, obol, sql, db, broken, new_license):
    """As if it had never failed: what is placed, what the service may call, the rows that went, and none left here."""
    new_license()
    granted, filled = sql(GRANTED), filled_tables(sql)
    failed = obol("shard")
    assert (failed.code, "no worker" in failed.err) == (3, True)
    sql(broken)
    again = obol("shard")

    assert (again.code, again.err) == (0, "")
    whole = GOLDEN.read_text().splitlines()
    done = [*failed.out.splitlines(), *again.out.splitlines()]
    copies = "SELECT truncate_local_data"
    assert [line for line in done if not line.startswith(copies)] == [line for line in whole if copies not in line]
    assert sql(GRANTED) == granted
    assert {"obol.licenses", "obol.ledger_entries", "obol.prices"} < filled.keys()
    assert {name: rows for name, rows in sql("SELECT name::text, number FROM public.moved") if rows} == filled
    local = filled_tables(sql).keys()
    placed = dict(sql("SELECT logicalrelid::text, partmethod FROM pg_dist_partition"))
    assert {name for name in local if placed[name] == "h"} == set()
    assert not local & {"obol.prices", "obol.price_tiers"}
    assert steps_of(obol("shard")) == [DONE]
    assert sharding.left_out(db) == []


def test_without_the_extension_it_is_refused(obol, db):
    refused = obol("shard")

    assert (refused.code, refused.out) == (1, "")
    assert "the extension citus" in refused.err
    assert sharding.left_out(db) == []


def test_what_is_missing_is_named_all_at_once(obol, sql):
    sql(FAKE)
    sql("DELETE FROM pg_dist_node")
    sql("ALTER ROLE obol_service NOLOGIN")
    sql("GRANT CREATE ON DATABASE " + sql("SELECT current_database()")[0][0] + " TO obol_service")
    sql("ALTER SCHEMA obol OWNER TO obol_service")

    refused = obol("shard")

    assert (refused.code, refused.out) == (1, "")
    for missing in ("wal_level = logical", "max_prepared_transactions", "can log in", "a node that takes shards"):
        assert missing in refused.err


def test_before_the_first_migration_nothing_is_left_out_and_nothing_distributed(bare, empty_database):
    refused = bare("shard", DATABASE_URL=empty_database.owner)
    assert (refused.code, "the extension citus" in refused.err) == (1, True)
    database = Database(empty_database.owner, pool_size=1, wait_s=1)
    assert sharding.left_out(database) == []
    database.close()
