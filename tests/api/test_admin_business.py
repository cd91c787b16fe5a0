"""Prices, tokens, the audit trail, the overview and the check of the ledger, over the admin API."""

from datetime import timedelta
from uuid import uuid4

import pytest
from factories import current_day

from service import operator
from service.pricing import CLASSES
from service.repository import ledger

FIGURES = dict.fromkeys(CLASSES, 2_000_000)
LATER = "2999-01-01T00:00:00Z"


def price(model="m", **more):
    return {"model": model, **FIGURES, **more}


def test_prices_are_set_as_a_file_of_prices_says(admin, owner):
    tier = {"above_input_tokens": 100, **dict.fromkeys(CLASSES, 3_000_000)}
    body = {"price": [price(["m", "n*"], tier=[tier])], "not_sold": ["old*"]}

    dry = admin("PUT", "prices", "manage", json=body, dry_run=1).get_json()
    assert dry["dry_run"] is True
    assert [change["model"] for change in dry["changes"]] == ["m", "n*", "old*"]
    assert [row["model"] for row in admin("GET", "prices", "read").get_json()["prices"]] == ["*"]

    done = admin("PUT", "prices", "manage", json=body).get_json()
    assert done["dry_run"] is False
    assert done["changes"][0]["before"] is None
    assert done["changes"][0]["after"] == {**FIGURES, "tiers": [tier]}
    assert done["changes"][2]["after"] is None
    book = admin("GET", "prices").get_json()
    assert book["unit"] == "credits per million tokens"
    assert [(row["model"], row["input"], row["tiers"]) for row in book["prices"]] == [
        ("*", 1_000_000, []),
        ("m", 2_000_000, [tier]),
        ("n*", 2_000_000, [tier]),
        ("old*", None, []),
    ]
    assert admin("PUT", "prices", json=body).get_json()["changes"] == []
    assert [act["act"] for act in admin("GET", "audit").get_json()["acts"]].count("set_prices") == 1


def test_dollars_with_a_margin_are_exact(admin):
    body = {"credits_per_usd": 1000, "margin_percent": 10, "effective_from": LATER}
    body["price"] = [{"model": "m", **dict.fromkeys(CLASSES, 0.1)}]

    (change,) = admin("PUT", "prices", json=body).get_json()["changes"]
    assert change["effective_from"] == LATER
    # In binary 0.1 is a little more than a tenth, and 110 would be rounded up.
    assert change["after"]["input"] == 110


def test_all_that_there_ever_was(admin):
    for figure in (1, 2):
        admin("PUT", "prices", json={"price": [{"model": "m", **dict.fromkeys(CLASSES, figure)}]})

    assert [row["input"] for row in admin("GET", "prices").get_json()["prices"]] == [1_000_000, 2]
    assert [row["input"] for row in admin("GET", "prices", all=1).get_json()["prices"]] == [1_000_000, 1, 2]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "it has no price"),
        ({"price": [{"model": "m"}]}, "input is missing"),
        ({"price": [price(input=-1)]}, "input must be a whole number"),
        ({"price": [price(input="1")]}, "input must be a whole number"),
        ({"price": [price(colour="red")]}, "'colour' is not known"),
        ({"price": [price()], "effective_from": "soon"}, "effective_from must be a time such as"),
        ({"price": [price()], "effective_from": 5}, "effective_from must be a time such as"),
        ({"price": 5}, "price must be tables"),
    ],
)
def test_prices_that_are_wrong_are_refused_by_name(admin, problem, sql, body, said):
    assert said in problem(admin("PUT", "prices", json=body), "validation_failed")["detail"]
    assert sql("SELECT count(*) FROM obol.prices") == [(1,)]


def test_a_price_cannot_begin_in_the_past(admin, problem):
    problem(admin("PUT", "prices", json={"price": [price()], "effective_from": "2020-01-01"}), "amount_invalid")


@pytest.mark.parametrize(("method", "parameter"), [("GET", "all"), ("PUT", "dry_run")])
def test_a_flag_is_0_or_1(admin, problem, method, parameter):
    for value in ("2", "true"):
        response = admin(method, "prices", json={"price": [price()]} if method == "PUT" else None, **{parameter: value})
        assert problem(response, "validation_failed")["errors"] == [{"field": parameter, "message": "must be 0 or 1"}]


def test_a_token_is_made_shown_once_used_and_revoked(admin, client, problem):
    made = admin("POST", "tokens", json={"name": "shop", "scopes": ["grant", "read", "read"], "expires_at": LATER})

    assert made.status_code == 201
    document = made.get_json()
    assert set(document) == {"token_id", "token", "name", "scopes", "expires_at"}
    assert (document["name"], document["scopes"], document["expires_at"]) == ("shop", ["read", "grant"], LATER)
    headers = {"Authorization": f"Bearer {document['token']}"}
    assert client.get("/api/v1/admin/licenses", headers=headers).status_code == 200
    problem(client.get("/api/v1/admin/tokens", headers=headers), "admin_forbidden")

    listed = admin("GET", "tokens", "tokens").get_json()["tokens"]
    (shop,) = [row for row in listed if row["name"] == "shop"]
    assert set(shop) == {"token_id", "name", "scopes", "expires_at", "created_at", "revoked_at"}
    assert shop["revoked_at"] is None
    for _ in range(2):
        ended = admin("DELETE", f"tokens/{shop['token_id']}", "tokens")
        assert (ended.status_code, ended.data) == (204, b"")
    problem(client.get("/api/v1/admin/licenses", headers=headers), "admin_forbidden")
    assert document["token"] not in str(admin("GET", "audit").get_json())


def test_tokens_come_in_pages(admin, new_token):
    names = [str(number) for number in range(3)]
    for name in names:
        new_token("read", name=name)

    first = admin("GET", "tokens", limit=2).get_json()
    second = admin("GET", "tokens", limit=100, cursor=first["next_cursor"]).get_json()
    assert [row["name"] for row in first["tokens"] + second["tokens"]][:3] == names
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"scopes": ["read"]}, "name"),
        ({"name": "", "scopes": ["read"]}, "name"),
        ({"name": "x", "scopes": []}, "scopes"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": ["all"]}, "scopes.0"),
        ({"name": "x", "scopes": ["read"], "expires_at": "soon"}, "expires_at"),
    ],
)
def test_a_token_that_is_wrong_is_refused_by_name(admin, problem, body, field):
    assert problem(admin("POST", "tokens", json=body), "validation_failed")["errors"][0]["field"] == field


def test_a_token_gives_no_scope_that_it_has_not(admin, problem):
    response = admin("POST", "tokens", "tokens", "read", json={"name": "x", "scopes": ["read", "grant"]})
    assert problem(response, "admin_forbidden")["scope"] == "grant"


def test_a_token_s_name_is_its_own_and_its_end_lies_ahead(admin, problem):
    admin("POST", "tokens", json={"name": "x", "scopes": ["read"]})
    problem(admin("POST", "tokens", json={"name": "x", "scopes": ["grant"]}), "already_exists")
    body = {"name": "y", "scopes": ["read"], "expires_at": "2020-01-01"}
    problem(admin("POST", "tokens", json=body), "amount_invalid")


def test_a_token_that_is_not_there(admin, problem):
    assert "There is no token" in problem(admin("DELETE", f"tokens/{uuid4()}"), "not_found")["detail"]


def test_the_trail_says_who_did_what_on_what_from_which_request(admin, client, new_token):
    token = new_token(name="shop")
    headers = {"Authorization": f"Bearer {token}", "x-request-id": "order-7"}
    made = client.post("/api/v1/admin/licenses", json={"name": "Ada", "credits": 5}, headers=headers).get_json()

    newest, given, before = admin("GET", "audit", "read").get_json()["acts"][1:4]
    assert newest == {
        "act_no": newest["act_no"],
        "acted_at": newest["acted_at"],
        "actor": "token:shop",
        "act": "create_license",
        "license_id": made["license_id"],
        "target": None,
        "detail": {"name": "Ada", "credits": 5, "expires_at": None, "external_id": None, "limits": None},
        "request_id": "order-7",
    }
    assert (given["act"], given["detail"]["amount"], given["request_id"]) == ("grant_credits", 5, "order-7")
    assert (before["actor"].partition(":")[0], before["act"], before["target"]) == ("cli", "create_token", "shop")
    assert made["license_key"] not in str(admin("GET", "audit").get_json())


def test_the_trail_comes_in_pages_newest_first(admin, new_token):
    token = new_token("read", name="last")
    first = admin("GET", "audit", limit=1).get_json()
    second = admin("GET", "audit", limit=1, cursor=first["next_cursor"]).get_json()

    assert second["acts"][0]["target"] == "last"
    assert first["acts"][0]["act_no"] > second["acts"][0]["act_no"]
    assert second["next_cursor"] is None
    assert token.startswith("obol_admin_")


def test_what_refuses_is_no_act(admin, new_license, problem):
    problem(admin("PATCH", f"licenses/{uuid4()}", json={"name": "x"}), "license_not_found")
    problem(admin("POST", "licenses", "manage", json={"credits": 1}), "admin_forbidden")
    assert {act["act"] for act in admin("GET", "audit").get_json()["acts"]} == {"create_token"}


def test_a_clean_ledger(admin, new_license, client, sql):
    license = new_license()
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)

    for query in ({}, {"since": "1h"}, {"since": "2026-01-01T00:00:00Z"}):
        found = admin("POST", "verify", "read", **query).get_json()
        # Each question has a token of its own, which is an act.
        ((acts,),) = sql("SELECT count(*) FROM obol.admin_acts")
        assert found == {
            "clean": True,
            "checked": {"licenses": 1, "entries": 2, "holds": 0, "idempotency_keys": 0, "acts": acts},
            "finding_count": 0,
            "findings": [],
        }


@pytest.mark.parametrize(
    "since", ["", "5", "5x", "-5m", "yesterday", "2999-01-01T00:00:00Z", "9999999999d", "999999999d"]
)
def test_a_since_that_is_none_is_refused_with_what_it_must_be(admin, since):
    refused = admin("POST", "verify", "read", since=since)

    assert (refused.status_code, refused.get_json()["code"]) == (422, "validation_failed")
    (error,) = refused.get_json()["errors"]
    assert error["field"] == "since"
    assert "a duration such as 90s, 5m, 2h or 1d" in error["message"]


@pytest.mark.tampers
def test_a_ledger_that_disagrees(admin, new_license, sql, owner):
    license = new_license()
    sql("UPDATE obol.licenses SET balance = balance + 1")

    found = admin("POST", "verify").get_json()
    assert (found["clean"], found["finding_count"]) == (False, 2)
    assert {finding["license_id"] for finding in found["findings"]} == {str(license.id)}
    assert {finding["rule"] for finding in found["findings"]} >= {"balance is the sum of the entries"}
    assert [row.detail for row in ledger.verify(owner)] == [finding["detail"] for finding in found["findings"]]

    found = admin("POST", "verify", since="5m").get_json()
    assert (found["clean"], found["finding_count"]) == (False, 1)
    assert found["findings"][0]["rule"] == "balance is the sum of the entries"


def test_the_overview_adds_up_to_the_ledger(admin, new_license, client, sql, owner):
    today, license = current_day(), new_license(credits=1000)
    deduction = client.post("/api/v1/deductions", json={"amount": 30}, headers=license.headers).get_json()
    client.post("/api/v1/deductions", json={"amount": 20}, headers=license.headers)
    operator.refund(owner, license.id, deduction["id"], reason="sorry")
    client.post("/api/v1/holds", json={"amount": 7}, headers=license.headers)
    # The grant and the first deduction were yesterday.
    sql("UPDATE obol.ledger_entries SET created_at = created_at - interval '1 day' WHERE entry_no <= 2")

    found = admin("GET", "overview", "read").get_json()
    assert (found["from"], found["to"]) == ((today - timedelta(days=29)).isoformat(), today.isoformat())
    assert len(found["days"]) == 30
    named = ("day", "granted", "charged", "refunded", "outstanding")
    assert [tuple(day[name] for name in named) for day in found["days"][-3:]] == [
        ((today - timedelta(days=2)).isoformat(), 0, 0, 0, 0),
        ((today - timedelta(days=1)).isoformat(), 1000, 30, 0, 970),
        (today.isoformat(), 0, 20, 30, 980),
    ]
    assert found["total"] == {
        "granted": 1000,
        "charged": 50,
        "refunded": 30,
        "expired": 0,
        "voided": 0,
        "adjusted": 0,
        "shortfall": 0,
        "outstanding": 980,
        "undelivered": 0,
        "operator_loss_answers": 0,
        "operator_loss_tokens": 0,
        "held": 7,
    }
    day = (today - timedelta(days=1)).isoformat()
    of_one = admin("GET", "overview", from_=day, to=day).get_json()
    assert [(day["charged"], day["outstanding"]) for day in of_one["days"]] == [(30, 970)]
    assert of_one["total"]["outstanding"] == 970


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"from_": "2026-13-01"}, "from: must be a day"),
        ({"to": "yesterday"}, "to: must be a day"),
        ({"to": "1999-01-01"}, "to: must be from 2020-01-01"),
        ({"from_": "2026-01-02", "to": "2026-01-01"}, "it must be 1 to 366 days"),
        ({"from_": "2025-01-01", "to": "2026-01-02"}, "it must be 1 to 366 days"),
        ({"colour": "red"}, "colour: is not a parameter"),
    ],
)
def test_days_that_are_none(admin, problem, query, said):
    assert said in problem(admin("GET", "overview", **query), "validation_failed")["detail"]
