"""The definitions in force, run over a migrated database, change nothing."""

from migrating import dump, present_files


def test_running_all_that_is_in_force_changes_nothing(urls, sql):
    before = dump(urls.owner)

    for file in present_files():
        sql(file.read_text())

    assert dump(urls.owner) == before
