"""The definitions in force, run over a migrated database, change nothing."""

from migrating import current_files, dump


def test_running_every_current_definition_changes_nothing(urls, sql):
    before = dump(urls.owner)

    for file in current_files():
        sql(file.read_text())

    assert dump(urls.owner) == before
