"""`obol key`, and limits of licenses from the command line."""

import pytest

from service import keys
from service.repository import licenses


def test_a_key_is_made_listed_changed_and_revoked(obol, db, new_license):
    license = new_license(credits=10)
    made = obol(
        "key",
        "create",
        license.id,
        "--name",
        "CI",
        "--limit",
        "requests_per_minute=60",
        "--limit",
        "models=a,b-*",
        "--json",
    ).json
    assert licenses.find(db, keys.parse(made["license_key"])).balance == 10
    assert made["limits"] == {"requests_per_minute": 60, "models": ["a", "b-*"]}

    listed = obol("key", "list", license.id, "--json").json
    assert listed[1] == {name: made[name] for name in made if name != "license_key"}
    text = obol("key", "list", license.id).out
    assert "CI" in text
    assert "models=a,b-*" in text
    assert "requests_per_minute=60" in text

    key = (license.id, made["key_id"])
    changed = obol(
        "key", "set", *key, "--name", "X", "--limit", "models=none", "--expires", "2999-01-01", "--json"
    ).json
    assert (changed["name"], changed["limits"]) == ("X", {"requests_per_minute": 60})
    assert changed["expires_at"] == "2999-01-01T00:00:00Z"
    assert obol("key", "revoke", *key, "--json").json["revoked_at"] is not None
    again = obol("key", "set", *key, "--name", "Y")
    assert (again.code, "not revoked" in again.err) == (1, True)


def test_a_key_is_made_once_an_idempotency_key(obol, new_license):
    command = ("key", "create", new_license().id, "--name", "CI", "--idempotency-key", "deploy-7")
    first = obol(*command, "--json").json
    assert obol(*command, "--json").json == first | {"license_key": None}
    assert f"rotate {command[2]} --key {first['key_id']}" in obol(*command).out
    assert "another payload" in obol(*command, "--limit", "concurrent_holds=1").err


def test_a_key_is_shown_once_to_a_person(obol, new_license):
    license = new_license()
    out = obol("key", "create", license.id).out
    assert "shown only now" in out
    assert f"obol_{license.id.hex}_" in out


def test_limits_of_a_license(obol):
    made = obol("license", "create", "--credits", 5, "--limit", "credits_per_day=7", "--json").json
    assert obol("license", "show", made["license_id"], "--json").json["limits"] == {"credits_per_day": 7}
    changed = obol("license", "set", made["license_id"], "--limit", "credits_per_day=none", "--json").json
    assert changed["limits"] is None


def test_one_key_is_rotated(obol, db, new_license):
    license = new_license()
    key = obol("key", "create", license.id, "--name", "CI", "--json").json
    rotated = obol("license", "rotate", license.id, "--key", key["key_id"], "--now", "--json").json
    listed = {row["key_id"]: row for row in obol("key", "list", license.id, "--json").json}
    assert listed[rotated["key_id"]]["name"] == "CI"
    assert [row["expires_at"] for row in listed.values()] == [None, rotated["older_keys_end_at"], None]


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ("calls=1", "it must begin with one of"),
        ("requests_per_minute", "whole number"),
        ("requests_per_minute=0", "whole number"),
        ("models=a,", "characters"),
        ("models=" + ",".join(["m"] * 101), "100 models"),
    ],
)
def test_what_is_no_limit_is_refused(obol, new_license, limit, said):
    refused = obol("key", "create", new_license().id, "--limit", limit)
    assert (refused.code, said in refused.err) == (2, True)


def test_a_change_of_nothing_is_wrong_usage(obol, new_license):
    license = new_license()
    refused = obol("key", "set", license.id, license.id)
    assert (refused.code, "--limit" in refused.err) == (2, True)
