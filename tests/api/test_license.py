"""GET /api/v1/license and its entries."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.repository import licenses, limits

PATH = "/api/v1/license"


def entries(client, license, **query):
    return client.get(f"{PATH}/entries", query_string=query, headers=license.headers)


def test_shows_what_is_there_and_what_of_it_is_held(client, new_license):
    license = new_license(credits=1000, name="acme")
    client.post("/api/v1/holds", json={"amount": 400}, headers=license.headers)

    response = client.get(PATH, headers=license.headers)

    assert response.status_code == 200
    assert response.get_json() == {
        "license_id": str(license.id),
        "name": "acme",
        "status": "active",
        "expires_at": None,
        "balance": 1000,
        "held": 400,
        "available": 600,
        "grants": [
            {
                "id": str(license.id),
                "amount": 1000,
                "left": 1000,
                "priority": 50,
                "starts_at": response.get_json()["grants"][0]["starts_at"],
                "expires_at": None,
                "state": "active",
            }
        ],
        "limits": [],
    }


def test_shows_what_is_used_of_the_limits_of_the_key_and_of_the_license(client, owner, new_license):
    license = new_license(credits=1000)
    licenses.set_license(owner, license.id, limits={"credits_per_month": 900, "models": ["claude-*"]})
    limits.set_key(owner, license.id, license.key_id, limits={"concurrent_holds": 3, "credits_per_day": 500})
    limits.create_key(owner, license.key._replace(digest=b"o" * 32), uuid4(), limits={"credits_per_day": 1})
    client.post("/api/v1/holds", json={"amount": 400}, headers=license.headers)
    client.post("/api/v1/deductions", json={"amount": 7}, headers=license.headers)

    assert client.get(PATH, headers=license.headers).get_json()["limits"] == [
        {"limit": "concurrent_holds", "limit_of": "key", "limit_value": 3, "used": 1},
        {"limit": "credits_per_day", "limit_of": "key", "limit_value": 500, "used": 407},
        {"limit": "credits_per_month", "limit_of": "license", "limit_value": 900, "used": 407},
    ]


@pytest.mark.parametrize(("suspended", "status"), [(False, "expired"), (True, "suspended")])
def test_a_license_that_is_not_good_can_still_be_read(client, owner, new_license, suspended, status):
    expired_at = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)
    license = new_license(expires_at=expired_at)
    if suspended:
        licenses.set_status(owner, license.id, "suspended")

    shown = client.get(PATH, headers=license.headers).get_json()
    assert (shown["status"], shown["expires_at"]) == (status, "2026-01-02T03:04:05.000678Z")
    assert entries(client, license).status_code == 200


def test_the_statement_comes_newest_first_in_pages(client, new_license):
    license = new_license(credits=100)
    for amount in range(1, 6):
        client.post("/api/v1/deductions", json={"amount": amount}, headers=license.headers)

    numbers, cursors, cursor = [], [], {}
    while True:
        page = entries(client, license, limit=2, **cursor).get_json()
        numbers += [entry["entry_no"] for entry in page["entries"]]
        cursors.append(page["next_cursor"])
        if page["next_cursor"] is None:
            break
        # What is booked between two pages moves nothing in those that follow.
        client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
        cursor = {"cursor": page["next_cursor"]}

    assert numbers == [6, 5, 4, 3, 2, 1]
    assert cursors == [5, 3, None]


def test_an_entry_says_what_it_was(client, new_license):
    license = new_license(credits=100)
    deduction = client.post(
        "/api/v1/deductions", json={"amount": 7, "reference": "job"}, headers=license.headers
    ).get_json()
    answer = client.post(
        "/api/v1/generate",
        json={"prompt": "[sandbox input_tokens=3]", "max_tokens": 1, "model": "m"},
        headers=license.headers,
    ).get_json()

    charge, deducted, granted = entries(client, license).get_json()["entries"]
    assert datetime.now(UTC) - datetime.fromisoformat(charge.pop("created_at")) < timedelta(minutes=1)
    assert charge == {
        "entry_no": 3,
        "kind": "charge",
        "amount": -4,
        "balance_after": 89,
        "id": answer["id"],
        "reference": None,
        "model": "m",
        "key_id": str(license.key_id),
        "usage": {"input": 3, "output": 1, "cache_write_5m": 0, "cache_write_1h": 0, "cache_read": 0},
    }
    assert (deducted["kind"], deducted["id"], deducted["reference"]) == ("deduction", deduction["id"], "job")
    assert (granted["kind"], granted["amount"], granted["balance_after"]) == ("grant", 100, 100)


def test_a_statement_is_its_license_s_own(client, new_license):
    license, other = new_license(credits=1), new_license(credits=2)
    page = entries(client, other).get_json()
    assert [entry["amount"] for entry in page["entries"]] == [2]
    assert page["next_cursor"] is None
    assert entries(client, license, cursor=1).get_json() == {"entries": [], "next_cursor": None, "archived": None}


WRONG_PAGES = [
    ({"limit": "0"}, "limit"),
    ({"limit": "-1"}, "limit"),
    ({"limit": "101"}, "limit"),
    ({"limit": "two"}, "limit"),
    ({"limit": "1.5"}, "limit"),
    ({"limit": ""}, "limit"),
    ({"limit": "9" * 5000}, "limit"),
    ({"cursor": "0"}, "cursor"),
    ({"cursor": "-1"}, "cursor"),
    ({"cursor": str(2**63)}, "cursor"),
    ({"cursor": "x"}, "cursor"),
    ({"cursor": ""}, "cursor"),
    ({"cursor": "\0"}, "cursor"),
]


def test_a_parameter_that_is_wrong_is_named(client, new_license, problem):
    license = new_license()
    for query, field in WRONG_PAGES:
        document = problem(entries(client, license, **query), "validation_failed")
        assert [error["field"] for error in document["errors"]] == [field], query


def test_a_parameter_that_is_unknown_is_named(client, new_license, problem):
    document = problem(entries(client, new_license(), page="2"), "validation_failed")
    assert [error["field"] for error in document["errors"]] == ["page"]


@settings(max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cursor=st.integers().map(str) | st.text(max_size=5), limit=st.integers(-5, 105).map(str) | st.text(max_size=5))
def test_any_page_is_given_or_refused(client, new_license, cursor, limit):
    response = entries(client, new_license(), cursor=cursor, limit=limit)
    assert response.status_code in (200, 422)


@pytest.mark.parametrize("path", [PATH, f"{PATH}/entries"])
def test_an_unknown_license_sees_nothing(client, new_license, sql, problem, path):
    license = new_license()
    sql("UPDATE obol.license_keys SET expires_at = clock_timestamp()")

    problem(client.get(path, headers=license.headers), "license_invalid")
