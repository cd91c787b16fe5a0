"""How the command is used, and that what is wrong is named in one line."""

import os

import pytest
from ended import KEY, SOME_ID

from service.repository import ledger


def test_usage(bare):
    assert bare("--help").code == 0
    assert bare("--version").out.startswith("obol, version ")
    assert bare("nonsense").code == 2
    assert "--undelivered" in bare("holds", "--help").out


def test_wrong_usage_is_json_too_when_asked(bare):
    refused = bare("grant", "not-an-id", "1", "--json")

    assert refused.code == 2
    assert "it is no id" in refused.json["error"]


@pytest.mark.parametrize("command", [("license", "create", "--credits", 5), ("grant", SOME_ID, 5)])
def test_an_empty_idempotency_key_is_refused(obol, command):
    """`--idempotency-key "$UNSET"` must not quietly make a command that is not safe to repeat."""
    refused = obol(*command, "--idempotency-key", "")

    assert refused.code == 2
    assert "--idempotency-key" in refused.err


def test_what_is_not_unicode_is_refused_in_one_line(obol):
    for option in ("--name", "--idempotency-key"):
        refused = obol("license", "create", "--credits", 5, option, os.fsdecode(b"\xff"))
        assert (refused.code, option in refused.err) == (2, True)


UNKNOWN_LICENSE = [
    ("license", "show", SOME_ID),
    ("license", "set", SOME_ID, "--name", "n"),
    ("license", "suspend", SOME_ID),
    ("license", "resume", SOME_ID),
    ("license", "rotate", SOME_ID),
    ("grant", SOME_ID, 5),
]


@pytest.mark.parametrize("command", UNKNOWN_LICENSE)
def test_an_unknown_license_is_named(obol, command):
    refused = obol(*command)

    assert (refused.code, refused.out) == (1, "")
    assert str(SOME_ID) in refused.err
    assert obol(*command, "--json").json["code"] == "license_invalid"
    assert not KEY.search(refused.err)


@pytest.mark.parametrize("command", [("license", "show"), ("license", "rotate"), ("grant",), ("refund",)])
def test_what_is_no_license_id_is_wrong_usage(obol, new_license, command):
    raw_key = new_license().raw_key
    refused = obol(*command, "not-an-id", "1")

    assert (refused.code, refused.out) == (2, "")
    # Pasting the key in place of the id is the likely mistake; the error must not keep it.
    assert raw_key not in obol(*command, raw_key, "1").err


def test_ctrl_c_in_a_command(bare, monkeypatch, environ):
    def interrupted(database, since):
        raise KeyboardInterrupt

    monkeypatch.setattr(ledger, "verify", interrupted)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert bare("verify").code == 130
