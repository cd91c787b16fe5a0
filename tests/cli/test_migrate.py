"""`obol migrate`, and what the other commands say before it."""

import pytest
from ended import Ended
from factories import run

from service import migrations


def test_migrate_an_empty_database_and_again(bare, empty_database):
    environment = {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    for _ in range(2):
        assert bare("migrate", **environment) == Ended(0, "The database is at head.\n", "")
    assert bare("verify", **environment).code == 0


def test_migrate_without_an_owner_s_url_uses_database_url(bare, empty_database):
    assert bare("migrate", DATABASE_URL=empty_database.owner).code == 0


def test_migrate_to_an_unknown_revision(obol):
    refused = obol("migrate", "--revision", "nonsense")

    assert (refused.code, refused.out) == (2, "")
    assert "nonsense" in refused.err


@pytest.mark.parametrize("command", [("verify",), ("license", "list"), ("license", "create", "--credits", "1")])
def test_a_database_without_migrations_says_to_migrate(bare, empty_database, command):
    refused = bare(*command, DATABASE_URL=empty_database.owner)

    assert refused.code != 0
    assert "obol migrate" in refused.err


CHOSEN = "a phrase that an operator has chosen"


def first_tokens(url):
    return run(url, "SELECT name, scopes FROM obol.admin_tokens WHERE revoked_at IS NULL")


def test_migrate_registers_the_admin_token(bare, empty_database):
    environ = {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    for token in (CHOSEN, CHOSEN, CHOSEN + "2"):
        assert bare("migrate", OBOL_ADMIN_TOKEN=token, **environ)[::2] == (0, "")
        assert first_tokens(empty_database.owner) == [("OBOL_ADMIN_TOKEN", ["read", "grant", "manage", "tokens"])]
    assert bare("migrate", **environ).err == ""
    assert len(first_tokens(empty_database.owner)) == 1
    # One that was replaced stays so, and the migration is done all the same.
    code, _, said = bare("migrate", OBOL_ADMIN_TOKEN=CHOSEN, **environ)
    assert (code, said) == (0, f"obol: {migrations.REVOKED}\n")


def test_a_migration_before_there_are_tokens_registers_none(bare, empty_database):
    environ = {"DATABASE_URL": empty_database.owner, "OBOL_ADMIN_TOKEN": CHOSEN}

    assert bare("migrate", "--revision", "0001", **environ).code == 0
    assert bare("migrate", **environ).code == 0
    assert len(first_tokens(empty_database.owner)) == 1


def test_a_token_that_is_too_short_is_refused_by_name(bare, empty_database):
    refused = bare("migrate", DATABASE_URL=empty_database.owner, OBOL_ADMIN_TOKEN="short")
    assert (refused.code, "OBOL_ADMIN_TOKEN is not valid: it must have 32" in refused.err) == (2, True)
