"""`obol shard`: what it asks of the catalogs, on a plain PostgreSQL with stand-ins for those of Citus."""

import os
import sys
from pathlib import Path

import pytest

from service.db import Database
from service.repository import sharding

sys.path.insert(0, str(Path(__file__).parent.parent / "sql"))

from citus import FAKE

GOLDEN = Path(__file__).parent / "golden" / "shard.sql"
DONE = "-- All of the schema is distributed.\n"

pytestmark = pytest.mark.tampers


@pytest.fixture
def citus(monkeypatch, sql):
    """A database of a cluster, as far as the catalogs say; its settings are those of the test's server."""
    sql(FAKE)
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
    assert "truncate_local_data_after_distributing_table('obol.ledger_entries')" in said.out
    assert ("obol.licenses",) in sql("SELECT name::text FROM public.truncated")
    placed = dict(sql("SELECT logicalrelid::text, partmethod FROM pg_dist_partition"))
    assert placed["obol.ledger_entries"] == "h"
    assert placed["obol.processes"] == placed["obol.external_ids"] == placed["obol.prices"] == "n"
    assert obol("shard").out == DONE
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
    first, second, third, *grants = obol("shard").out.splitlines()
    assert first == "SELECT create_distributed_table('obol.more', 'license_id', colocate_with => 'obol.licenses');"
    assert "'obol.do_more(uuid)', 'p_license_id', colocate_with := 'obol.licenses', force_delegation := true" in second
    assert "obol.find_license" in third
    assert all(grant.startswith("GRANT ") for grant in grants)
    assert sharding.left_out(db) == []


def test_what_the_extension_has_taken_up_by_itself_is_placed(citus, obol, sql):
    obol("shard")
    sql("UPDATE pg_dist_partition SET autoconverted = true WHERE logicalrelid = 'obol.processes'::regclass")

    assert obol("shard").out.splitlines()[0] == "SELECT citus_add_local_table_to_metadata('obol.processes');"


def test_a_step_that_fails_says_why_and_the_next_run_goes_on_from_there(citus, obol, sql):
    sql("CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no worker'; END $$")
    sql(
        "CREATE TRIGGER fail BEFORE INSERT ON pg_dist_partition FOR EACH ROW"
        " WHEN (NEW.logicalrelid = 'obol.processes'::regclass) EXECUTE FUNCTION public.fail()"
    )
    failed = obol("shard")
    assert (failed.code, "no worker" in failed.err) == (3, True)
    assert "create_distributed_table('obol.licenses'" in failed.out

    sql("DROP TRIGGER fail ON pg_dist_partition")
    assert obol("shard").out.startswith("SELECT citus_add_local_table_to_metadata('obol.processes');\n")
    assert obol("shard").out == DONE


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
