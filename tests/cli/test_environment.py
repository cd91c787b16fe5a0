"""What the commands take from the environment: the database, and settings that are wrong."""

import pytest
from ended import KEY, NOWHERE, SOME_ID

COMMANDS = [
    ("migrate",),
    ("verify",),
    ("holds", "--undelivered"),
    ("license", "list"),
    ("license", "create", "--credits", "1"),
    ("license", "show", SOME_ID),
    ("license", "suspend", SOME_ID),
    ("license", "resume", SOME_ID),
    ("license", "rotate", SOME_ID),
    ("grant", SOME_ID, "1"),
    ("refund", SOME_ID, SOME_ID),
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(map(str, command[:2])))
def test_without_a_database_url_each_command_names_it(bare, command):
    refused = bare(*command)

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("obol: DATABASE_URL is not set")
    assert "OBOL_DEV=1" in refused.err
    assert not KEY.search(refused.err)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(map(str, command[:2])))
def test_a_database_that_is_down_ends_each_command_with_3(bare, command):
    refused = bare(*command, DATABASE_URL=NOWHERE)

    assert (refused.code, refused.out) == (3, "")
    assert refused.err.startswith("obol: The database could not be reached. Ask again. (connection to server at ")
    assert "Connection refused" in refused.err
    assert "secret-password" not in refused.err


def test_a_database_that_is_down_as_json(bare):
    refused = bare("license", "list", "--json", DATABASE_URL=NOWHERE)

    assert (refused.code, refused.err) == (3, "")
    assert refused.json["code"] == "over_capacity"
    assert "could not be reached" in refused.json["error"]
    assert "Connection refused" in refused.json["error"]


def test_an_unknown_setting_names_the_nearest_one(obol):
    refused = obol("verify", OBOL_LEASES_S="2")

    assert refused.code == 2
    assert refused.err == "obol: OBOL_LEASES_S is not a setting of Obol. Did you mean OBOL_LEASE_S?\n"
    assert obol("verify", "--json", OBOL_LEASES_S="2").json["code"] is None


def test_a_wrong_setting_is_named_without_its_value(bare):
    refused = bare("verify", DATABASE_URL="mysql://obol:secret-password@127.0.0.1/obol")

    assert refused.code == 2
    assert "DATABASE_URL is not valid" in refused.err
    assert "secret-password" not in refused.err


def test_a_password_that_libpq_would_take_for_a_host_is_refused_without_it(bare):
    refused = bare("verify", DATABASE_URL="postgresql://obol:secret@password@127.0.0.1/obol")

    assert (refused.code, refused.out) == (2, "")
    assert "an @ in its password must be written as %40" in refused.err
    assert "secret" not in refused.err
