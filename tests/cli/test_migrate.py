"""`obol migrate`, and what the other commands say before it."""

import pytest
from ended import Ended


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
