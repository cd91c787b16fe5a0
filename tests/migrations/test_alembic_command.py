"""`alembic upgrade head` works as anyone who knows it expects."""

import pytest
from migrating import alembic, finish, run, start_alembic

from service import migrations


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "OBOL_MIGRATE_URL"])
def test_takes_the_url_of_the_environment(empty_database, name, scheme):
    url = empty_database.owner.replace("postgresql://", f"{scheme}://")

    alembic("upgrade", "head", **{name: url})

    assert run(empty_database.owner, "SELECT obol.current_revision()") == [(migrations.head(),)]


def test_the_owner_s_url_goes_before_the_service_s(empty_database):
    alembic("upgrade", "head", DATABASE_URL=empty_database.service, OBOL_MIGRATE_URL=empty_database.owner)

    assert run(empty_database.owner, "SELECT obol.current_revision()") == [(migrations.head(),)]


def test_without_a_url_says_so_in_one_line():
    code, output, errors = finish(start_alembic("upgrade", "head"))

    assert code != 0
    (line,) = errors.splitlines()
    assert "DATABASE_URL is not set" in line
    assert "Traceback" not in output
    assert len(output.splitlines()) <= 1


def test_current_and_history_work(urls):
    assert alembic("current", DATABASE_URL=urls.owner).strip() == f"{migrations.head()} (head)"
    assert migrations.head() in alembic("history")


def test_upgrade_registers_the_admin_token_and_nothing_else_does(empty_database):
    environ = {"DATABASE_URL": empty_database.owner, "OBOL_ADMIN_TOKEN": "a phrase that an operator has chosen"}
    tokens = "SELECT name FROM obol.admin_tokens"

    alembic("upgrade", "head", DATABASE_URL=empty_database.owner)
    alembic("current", **environ)
    assert run(empty_database.owner, tokens) == []
    for _ in range(2):
        alembic("upgrade", "head", **environ)
        assert run(empty_database.owner, tokens) == [("OBOL_ADMIN_TOKEN",)]
