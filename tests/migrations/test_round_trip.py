"""Every migration can be taken back and made again, and nothing is done twice."""

from datetime import UTC, datetime

import pytest
from ageing import age
from migrating import dump, revisions

from alembic import command
from service import archive, migrations
from service.archivefile import Folder
from service.repository import ledger

VERSIONS = """
    SELECT p.oid::regprocedure::text, p.xmin::text FROM pg_proc p WHERE p.pronamespace = 'obol'::regnamespace
    UNION ALL
    SELECT c.oid::regclass::text, c.xmin::text FROM pg_class c WHERE c.relnamespace = 'obol'::regnamespace
    UNION ALL
    SELECT 'version ' || v.version_num, v.xmin::text FROM obol.alembic_version v
    UNION ALL
    SELECT 'schema', n.xmin::text FROM pg_namespace n WHERE n.nspname = 'obol'
    ORDER BY 1
"""


def test_each_migration_goes_up_down_and_up_again(empty_database):
    for script in revisions():
        migrations.upgrade(empty_database.owner, script.revision)
        before = dump(empty_database.owner)
        command.downgrade(migrations.alembic_config(empty_database.owner), "-1")
        migrations.upgrade(empty_database.owner, script.revision)

        assert dump(empty_database.owner) == before, script.revision


def test_down_to_base_leaves_only_alembic_s_own_table(urls, sql):
    before = dump(urls.owner)
    command.downgrade(migrations.alembic_config(urls.owner), "base")
    relations = "SELECT relname FROM pg_class WHERE relnamespace = 'obol'::regnamespace AND relkind <> 'i'"
    others = (
        "SELECT proname::text FROM pg_proc WHERE pronamespace = 'obol'::regnamespace UNION ALL "
        "SELECT typname::text FROM pg_type WHERE typnamespace = 'obol'::regnamespace AND typrelid = 0 AND typelem = 0"
    )

    assert sql(relations) == [("alembic_version",)]
    assert sql(others) == []
    assert sql("SELECT version_num FROM obol.alembic_version") == []

    migrations.upgrade(urls.owner)
    assert dump(urls.owner) == before


def test_a_second_upgrade_writes_nothing(urls, sql):
    before = sql(VERSIONS)

    migrations.upgrade(urls.owner)

    assert sql(VERSIONS) == before


@pytest.mark.tampers
def test_what_is_archived_is_not_forgotten(urls, new_license, owner, sql, tmp_path):
    """Without it, entries would be missing, and nothing would say where they are."""
    new_license()
    age(sql, 80)
    assert archive.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC)).files == 1
    before = dump(urls.owner)

    with pytest.raises(Exception, match="entries are archived: the migration before this one does not know where"):
        command.downgrade(migrations.alembic_config(urls.owner), "0012")

    assert dump(urls.owner) == before
    assert ledger.verify(owner) == []
