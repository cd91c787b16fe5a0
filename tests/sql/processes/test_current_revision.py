"""obol.current_revision: the migration that the database is at."""

from service import migrations
from service.repository import processes


def test_it_is_the_newest_one_after_an_upgrade(db):
    assert processes.revision(db) == migrations.head()


def test_before_the_first_migration_has_ended_there_is_none(db, sql):
    sql("DELETE FROM obol.alembic_version")

    assert processes.revision(db) is None
