"""Licenses over the admin API: made once, found, changed, and given new keys."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from service import keys
from service.repository import admin as repository
from service.repository import licenses

LARGEST = 2**63 - 1


@pytest.fixture
def acts(owner):
    return lambda: [(act.act, act.license_id) for act in repository.list_acts(owner) if act.act != "create_token"]


def test_a_license_is_made_with_a_key_that_works(admin, db, owner):
    made = admin("POST", "licenses", json={"name": "Ada", "credits": 500, "external_id": "customer 7"})

    assert made.status_code == 201
    document = made.get_json()
    assert set(document) == {"license_id", "license_key", "key_id", "balance"}
    license = licenses.find(db, keys.parse(document["license_key"]))
    assert (str(license.license_id), license.name, license.balance) == (document["license_id"], "Ada", 500)
    shown = admin("GET", f"licenses/{document['license_id']}", "read").get_json()
    assert shown == {
        "license_id": document["license_id"],
        "name": "Ada",
        "status": "active",
        "expires_at": None,
        "balance": 500,
        "held": 0,
        "available": 500,
        "external_id": "customer 7",
        "created_at": shown["created_at"],
        "limits": None,
        "alerts": None,
        "email": None,
        "own_keys": 0,
    }


def test_nothing_has_to_be_said_of_a_license(admin):
    made = admin("POST", "licenses", "manage", json={}).get_json()
    assert made["balance"] == 0


def test_with_an_idempotency_key_a_license_is_made_once_and_its_key_shown_once(admin, acts, problem):
    key, body = {"Idempotency-Key": "order-7"}, {"credits": 5, "external_id": "x"}
    first = admin("POST", "licenses", json=body, headers=key).get_json()
    again = admin("POST", "licenses", json=body, headers=key)

    assert again.status_code == 201
    assert again.get_json() == first | {"license_key": None}
    assert acts() == [(act, UUID(first["license_id"])) for act in ("create_license", "grant_credits")]
    for other in ({"credits": 6, "external_id": "x"}, {"credits": 5}, {"credits": 5, "external_id": "y"}):
        problem(admin("POST", "licenses", json=other, headers=key), "idempotency_key_reused")


def test_who_may_only_manage_makes_no_credits(admin, problem, sql):
    document = problem(admin("POST", "licenses", "manage", "read", json={"credits": 1}), "admin_forbidden")
    assert document["scope"] == "grant"
    assert sql("SELECT count(*) FROM obol.licenses") == [(0,)]
    problem(admin("POST", "licenses", "grant", "read", json={"credits": 1}), "admin_forbidden")


def test_an_external_id_is_one_license_s(admin, problem, sql):
    admin("POST", "licenses", json={"external_id": "x"})
    document = problem(admin("POST", "licenses", json={"external_id": "x", "credits": 9}), "already_exists")

    assert document["field"] == "external_id"
    assert sql("SELECT count(*) FROM obol.licenses") == [(1,)]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"credits": -1}, "credits"),
        ({"credits": LARGEST + 1}, "credits"),
        ({"credits": "5"}, "credits"),
        ({"credits": 1.0}, "credits"),
        ({"name": 7}, "name"),
        ({"name": "a\0"}, "name"),
        ({"expires_at": "tomorrow"}, "expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+14:00"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "x" * 201}, "external_id"),
        ({"quota": 7}, "quota"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_made(admin, problem, sql, body, field):
    (error,) = problem(admin("POST", "licenses", json=body), "validation_failed")["errors"]

    assert error["field"] == field
    assert sql("SELECT count(*) FROM obol.licenses") == [(0,)]


@pytest.mark.parametrize(
    ("given", "meant"),
    [("2999-01-31", "2999-01-31T00:00:00Z"), ("2999-01-31T12:00:00+02:00", "2999-01-31T10:00:00Z")],
)
def test_a_time_without_a_zone_is_utc(admin, given, meant):
    made = admin("POST", "licenses", json={"expires_at": given}).get_json()
    assert admin("GET", f"licenses/{made['license_id']}").get_json()["expires_at"] == meant


def test_licenses_come_in_pages_oldest_first(admin, new_license):
    made = [str(new_license(name=f"license {number}").id) for number in range(5)]

    pages, cursor = [], {}
    while True:
        page = admin("GET", "licenses", "read", limit=2, **cursor).get_json()
        pages.append([row["license_id"] for row in page["licenses"]])
        if page["next_cursor"] is None:
            break
        cursor = {"cursor": page["next_cursor"]}
    assert pages == [made[:2], made[2:4], made[4:]]
    # A page that ends with the list says so.
    assert admin("GET", "licenses", limit=5).get_json()["next_cursor"] is None


def test_licenses_are_found(admin, new_license):
    ada, grace = new_license(name="Ada of Kent"), new_license(expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    linked = admin("POST", "licenses", json={"external_id": "Shop-9"}).get_json()["license_id"]

    def found(**query):
        return [row["license_id"] for row in admin("GET", "licenses", **query).get_json()["licenses"]]

    assert found(query="ADA") == found(query=str(ada.id)[:9].upper()) == [str(ada.id)]
    assert found(query="shop-") == [linked]
    assert found(status="expired") == [str(grace.id)]
    assert found(status="active", query="kent") == [str(ada.id)]
    assert found(query="%") == found(status="suspended") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"cursor": "1"}, "cursor"),
        ({"cursor": "9" * 17 + "-" + "0" * 31}, "cursor"),
        ({"status": "gone"}, "status"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_list_says_what_it_does_not_take(admin, problem, query, field):
    (error,) = problem(admin("GET", "licenses", **query), "validation_failed")["errors"]
    assert error["field"] == field


def test_a_license_that_is_not_there(admin, problem):
    missing = f"licenses/{uuid4()}"
    for response in (
        admin("GET", missing),
        admin("PATCH", missing, json={"name": "x"}),
        admin("POST", f"{missing}/rotate", json={"overlap_s": 0}),
    ):
        assert "There is no license" in problem(response, "license_not_found")["detail"]
    problem(admin("GET", "licenses/7"), "not_found")


def test_a_license_is_changed_in_what_is_named(admin, new_license, acts):
    license = new_license(name="before", expires_at=datetime(2998, 1, 1, tzinfo=UTC))
    path = f"licenses/{license.id}"

    def change(**body):
        response = admin("PATCH", path, "manage", json=body)
        assert response.status_code == 200
        return [response.get_json()[name] for name in ("name", "status", "expires_at")]

    assert change(name="after") == ["after", "active", "2998-01-01T00:00:00Z"]
    assert change(status="suspended") == ["after", "suspended", "2998-01-01T00:00:00Z"]
    assert change(expires_at=None, status="active") == ["after", "active", None]
    assert change(expires_at="2020-01-01", allow_past=True) == ["after", "expired", "2020-01-01T00:00:00Z"]
    # The same again is no act.
    assert change(expires_at="2020-01-01") == ["after", "expired", "2020-01-01T00:00:00Z"]
    assert acts() == [("set_license", license.id)] * 4 + [("create_license", license.id), ("grant_credits", license.id)]


def test_an_end_that_is_past_has_to_be_meant(admin, new_license, problem):
    license = new_license()
    path = f"licenses/{license.id}"
    document = problem(admin("PATCH", path, json={"expires_at": "2020-01-01"}), "amount_invalid")

    assert "allow_past" in document["detail"]
    assert admin("GET", path).get_json()["status"] == "active"


@pytest.mark.parametrize("body", [{}, {"allow_past": True}])
def test_a_change_says_what(admin, new_license, problem, body):
    path = f"licenses/{new_license().id}"
    assert "Say what to change" in problem(admin("PATCH", path, json=body), "validation_failed")["detail"]


@pytest.mark.parametrize(
    ("body", "field"), [({"status": "expired"}, "status"), ({"status": None}, "status"), ({"name": None}, "name")]
)
def test_a_change_that_is_wrong_is_named(admin, new_license, problem, body, field):
    response = admin("PATCH", f"licenses/{new_license().id}", json=body)
    assert [error["field"] for error in problem(response, "validation_failed")["errors"]] == [field]


def test_a_new_key_works_and_the_older_ones_end(admin, new_license, db, acts):
    license = new_license()
    path = f"licenses/{license.id}/rotate"
    rotated = admin("POST", path, "manage", json={"overlap_s": 3600})

    assert rotated.status_code == 201
    document = rotated.get_json()
    assert document["license_id"] == str(license.id)
    left = datetime.fromisoformat(document["older_keys_end_at"]) - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    for key in (license.key, keys.parse(document["license_key"])):
        assert licenses.find(db, key).license_id == license.id
    assert acts()[0] == ("rotate_license_key", license.id)


@pytest.mark.parametrize("overlap_s", [-1, 2**31, "1", None])
def test_an_overlap_that_is_none(admin, new_license, problem, overlap_s):
    response = admin("POST", f"licenses/{new_license().id}/rotate", json={"overlap_s": overlap_s})
    assert problem(response, "validation_failed")["errors"][0]["field"] == "overlap_s"
