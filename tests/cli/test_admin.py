"""`obol token`, `obol audit list`, `obol overview`, and what is new of licenses and holds."""

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from factories import current_day

from service import keys
from service.problems import Problem
from service.repository import admin, holds, ledger
from service.repository.admin import Actor

TOKEN = re.compile("obol_admin_[0-9A-Za-z]{38}")


def test_a_token_is_printed_once_and_works(obol, db):
    made = obol("token", "create", "--name", "shop", "--scopes", "grant,read")

    (token,) = TOKEN.findall(made.out)
    assert (made.code, "shown only now" in made.out) == (0, True)
    who = Actor(keys.parse_token(token), None)
    assert admin.check(db, who, "grant") == "token:shop"
    with pytest.raises(Problem, match="admin_forbidden"):
        admin.check(db, who, "manage")


def test_a_token_as_json(obol):
    made = obol("token", "create", "--name", "n", "--scopes", "tokens", "--expires", "2999-01-31", "--json").json

    assert TOKEN.fullmatch(made.pop("token"))
    assert UUID(made.pop("token_id"))
    assert made == {"name": "n", "scopes": ["tokens"], "expires_at": "2999-01-31T00:00:00Z"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--name", "n", "--scopes", "all"), "read, grant, manage, tokens"),
        (("--name", "n", "--scopes", ""), "read, grant, manage, tokens"),
        (("--name", "", "--scopes", "read"), "'--name'"),
        (("--scopes", "read"), "'--name'"),
        (("--name", "n"), "'--scopes'"),
    ],
)
def test_a_token_that_is_wrong_is_refused_by_name(obol, options, said):
    refused = obol("token", "create", *options)
    assert (refused.code, said in refused.err) == (2, True)


def test_tokens_are_listed_and_revoked(obol, sql):
    assert "obol token create" in obol("token", "list").out
    for name in ("shop", "old", "gone"):
        obol("token", "create", "--name", name, "--scopes", "read,grant")
    sql("UPDATE obol.admin_tokens SET expires_at = clock_timestamp() WHERE name = 'old'")
    listed = obol("token", "list", "--json").json
    assert [row["name"] for row in listed] == ["shop", "old", "gone"]
    assert set(listed[0]) == {"token_id", "name", "scopes", "created_at", "expires_at", "revoked_at"}

    for _ in range(2):
        assert "is revoked" in obol("token", "revoke", listed[2]["token_id"]).out
    heading, *rows = obol("token", "list").out.splitlines()
    assert heading.split() == ["TOKEN", "NAME", "SCOPES", "CREATED", "AT", "EXPIRES", "STATUS"]
    assert [(row.split()[1], row.split()[2], row.split()[-1]) for row in rows] == [
        ("shop", "read,grant", "good"),
        ("old", "read,grant", "expired"),
        ("gone", "read,grant", "revoked"),
    ]
    refused = obol("token", "revoke", uuid4())
    assert (refused.code, "There is no token" in refused.err) == (1, True)


def test_the_trail_has_what_was_done_and_by_whom(obol, sql):
    assert obol("audit", "list").out == "No acts.\n"
    license_id = obol("license", "create", "--credits", 5, "--json").json["license_id"]
    rotated = obol("license", "rotate", license_id, "--json").json
    obol("license", "suspend", license_id)
    obol("license", "suspend", license_id)
    obol("prices", "set", "m", *(f"--{name}=1" for name in PRICES))
    obol("token", "create", "--name", "shop", "--scopes", "read")

    acts = obol("audit", "list", "--json").json
    ((login,),) = sql("SELECT session_user::text")
    assert {act["actor"] for act in acts} == {f"cli:{login}"}
    assert [(act["act"], act["license_id"], act["target"]) for act in acts] == [
        ("create_token", None, "shop"),
        ("set_prices", None, None),
        ("set_license", license_id, None),
        ("rotate_license_key", license_id, rotated["key_id"]),
        ("create_license", license_id, None),
        # The opening grant.
        ("grant_credits", license_id, license_id),
    ]
    assert acts[2]["detail"]["after"]["status"] == "suspended"
    older = obol("audit", "list", "--limit", 1, "--before", acts[3]["act_no"], "--json").json
    assert older == acts[4:5]
    heading, first, *_ = obol("audit", "list").out.splitlines()
    assert heading.split() == ["NO", "AT", "ACTOR", "ACT", "ON", "DETAIL", "REQUEST"]
    assert "create_token" in first


PRICES = ("input", "output", "cache-write-5m", "cache-write-1h", "cache-read")


def test_the_overview(obol, new_license, db):
    today, license = current_day(), new_license(credits=100)
    ledger.deduct(db, license.key, uuid4(), amount=30)

    found = obol("overview", "--json").json
    assert (found["from"], found["to"]) == ((today - timedelta(days=29)).isoformat(), today.isoformat())
    assert (found["days"][-1]["charged"], found["days"][-1]["outstanding"]) == (30, 70)
    assert (found["total"]["granted"], found["total"]["held"]) == (100, 0)
    heading, *rows = obol("overview", "--from", today, "--to", today).out.splitlines()
    assert heading.split()[:3] == ["DAY", "GRANTED", "CHARGED"]
    assert [row.split()[:3] for row in rows[:2]] == [[today.isoformat(), "100", "30"], ["total", "100", "30"]]
    assert rows[-1].startswith("Held now: 0. Answers that broke off: 0")
    assert rows[-1].endswith("Ending in 7 days: 0 of 0 licenses.")


@pytest.mark.parametrize(("days", "code"), [(("yesterday",), 2), (("1999-01-01",), 2), (("2999-01-01",), 1)])
def test_days_that_are_none(obol, days, code):
    refused = obol("overview", "--from", *days)
    assert (refused.code, refused.out) == (code, "")


def test_open_holds_are_listed(obol, new_license, db):
    assert obol("holds", "--held").out == "None: no credits are set aside.\n"
    license = new_license()
    hold = holds.open_for_client(db, license.key, uuid4(), amount=40, expires_in_s=60)

    (row,) = obol("holds", "--held", "--json").json
    assert datetime.fromisoformat(row.pop("opened_at")) <= datetime.now(UTC)
    assert datetime.fromisoformat(row.pop("expires_at")) == hold.expires_at
    assert row == {"license_id": str(license.id), "hold_id": str(hold.hold_id), "amount": 40, "model": None}
    assert obol("holds", "--held").out.splitlines()[1].split()[0] == "40"
    assert obol("holds", "--held", "--license", uuid4(), "--json").json == []


def test_a_license_with_an_external_id_is_found_by_it(obol):
    create = ("license", "create", "--credits", 1, "--external-id", "customer-7", "--json")
    made = obol(*create).json

    (found,) = obol("license", "list", "--query", "CUSTOMER", "--json").json
    assert (found["license_id"], found["external_id"]) == (made["license_id"], "customer-7")
    assert obol(*create).json["code"] == "already_exists"
