"""obol webhook, obol events, and what a license tells."""

import json
from uuid import uuid4

import pytest

KEYS = {"OBOL_WEBHOOK_KEYS": "A" * 43}
URL = "https://example.com/events"


@pytest.fixture
def made(obol):
    return json.loads(obol("webhook", "create", URL, "--types", "key.revoked,grant.created", "--json", **KEYS).out)


def test_a_webhook_from_its_making_to_its_end(obol, made):
    id = made["webhook_id"]
    assert made["types"] == ["grant.created", "key.revoked"]
    shown = obol("webhook", "create", URL, "--name", "all", **KEYS).out
    assert "whsec_" in shown
    listed = json.loads(obol("webhook", "list", "--json").out)
    assert [row["name"] for row in listed] == ["", "all"]
    assert json.loads(obol("webhook", "show", id, "--json").out) == listed[0]
    assert "paused (operator)" in obol("webhook", "pause", id).out
    assert "active" in obol("webhook", "resume", id).out
    rotated = json.loads(obol("webhook", "rotate", id, "--json", **KEYS).out)
    assert rotated["secret"] != made["secret"]
    assert "is deleted" in obol("webhook", "delete", id).out
    refused = obol("webhook", "show", id)
    assert (refused.code, "no webhook" in refused.err) == (1, True)


def test_events_are_listed_and_replayed(obol, made, new_license):
    assert "No events." in obol("events").out
    license = new_license(credits=5)
    (event,) = json.loads(obol("events", "--license", license.id, "--type", "grant.created", "--json").out)
    assert event["license_id"] == str(license.id)
    assert "waiting" in obol("events").out
    assert "again: 1" in obol("webhook", "replay", made["webhook_id"], event["event_id"]).out
    assert "again: 0" in obol("webhook", "replay", made["webhook_id"]).out
    assert obol("webhook", "replay", made["webhook_id"], uuid4()).code == 1


def test_none_yet_and_what_is_wrong(obol):
    assert "No webhooks yet" in obol("webhook", "list").out
    assert "OBOL_WEBHOOK_KEYS" in obol("webhook", "create", URL).err
    assert "https://" in obol("webhook", "create", "http://example.com", **KEYS).err
    assert "must be some of" in obol("webhook", "create", URL, "--types", "x", **KEYS).err


def test_what_a_license_tells(obol, new_license):
    license = new_license(credits=1000)
    options = (*("--alert-below", "100") * 2, "--alert-below", "20%", "--email", "ada@example.com")
    told = json.loads(obol("license", "set", license.id, *options, "--json").out)
    assert (told["alerts"], told["email"]) == ({"credits": [100], "percent": [20]}, "ada@example.com")
    assert "at 100, 20%, 0, also to ada@example.com" in obol("license", "show", license.id).out
    none = ("--alert-below", "none", "--email", "none", "--json")
    told = json.loads(obol("license", "set", license.id, *none).out)
    assert (told["alerts"], told["email"]) == (None, None)
    assert "Tells" not in obol("license", "show", license.id).out
    for wrong in (("--alert-below", "0"), ("--alert-below", "100%"), ("--alert-below", "x"), ("--email", "ada")):
        assert obol("license", "set", license.id, *wrong).code == 2
    obol("license", "set", license.id, "--email", "ada@example.com")
    assert "at 0, also to" in obol("license", "show", license.id).out
