"""`alembic upgrade head --sql`: a script for those who let no program migrate."""

import pytest
from migrating import alembic, dump, present_files, psql, run

ROWS = ("SELECT * FROM obol.prices", "SELECT * FROM obol.alembic_version")


def test_psql_makes_the_same_database_from_the_script(empty_database, urls, sql):
    psql(empty_database.owner, alembic("upgrade", "head", "--sql"))

    assert dump(empty_database.owner) == dump(urls.owner)
    for rows in ROWS:
        assert run(empty_database.owner, rows) == sql(rows)


def test_functions_are_in_the_script_to_the_letter():
    script = alembic("upgrade", "head", "--sql")

    for file in present_files():
        assert file.read_text().strip().removesuffix(";") in script, file.name


def test_a_script_that_fails_leaves_nothing(empty_database):
    script = alembic("upgrade", "head", "--sql")
    broken = script.replace("COMMIT;", "SELECT 1/0;\nCOMMIT;")
    assert broken != script

    with pytest.raises(AssertionError, match="division by zero"):
        psql(empty_database.owner, broken)
    assert run(empty_database.owner, "SELECT FROM pg_namespace WHERE nspname = 'obol'") == []
