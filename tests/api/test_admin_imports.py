"""POST /api/v1/admin/licenses/import: what becomes of each license, and who may."""

import hashlib

import pytest

IMPORT = "licenses/import"
SHA256 = hashlib.sha256(b"LIC-0002-B").hexdigest()
LICENSES = [
    {"key": "LIC-0001-A", "credits": 100, "external_id": "c-1", "name": "Ada"},
    {"key_sha256": SHA256, "credits": 0, "status": "suspended", "expires_at": "2026-01-31T00:00:00Z"},
]


@pytest.fixture
def total(sql):
    return lambda: sql("SELECT count(*), COALESCE(sum(balance), 0) FROM obol.licenses")[0]


def test_licenses_are_imported_once(admin, client, total):
    dry = admin("POST", IMPORT, json={"licenses": LICENSES, "dry_run": True}).get_json()
    none = {"result": "imported", "license_id": None}
    assert dry == {"dry_run": True, "imported": 2, "unchanged": 0, "refused": 0, "results": [none, none]}
    assert total() == (0, 0)

    done = admin("POST", IMPORT, "manage", "grant", json={"licenses": LICENSES})
    document = done.get_json()
    assert (done.status_code, document["imported"], document["dry_run"], total()) == (200, 2, False, (2, 100))
    shown = client.get("/api/v1/license", headers={"x-api-key": "LIC-0001-A"}).get_json()
    assert (shown["license_id"], shown["balance"]) == (document["results"][0]["license_id"], 100)
    again = admin("POST", IMPORT, json={"licenses": LICENSES}).get_json()
    assert again["results"] == [one | {"result": "unchanged"} for one in document["results"]]
    assert total() == (2, 100)


def test_each_is_refused_by_itself(admin, total):
    admin("POST", IMPORT, json={"licenses": LICENSES[:1]})
    more = [LICENSES[0] | {"credits": 5}, {"key": "LIC-0003-C", "credits": 1}, {"key": "LIC-0003-C", "credits": 1}]
    document = admin("POST", IMPORT, json={"licenses": more}).get_json()

    conflict, made, repeated = document["results"]
    assert (document["imported"], document["unchanged"], document["refused"]) == (1, 0, 2)
    assert (conflict["result"], conflict["code"], conflict["field"]) == ("refused", "already_exists", "credits")
    assert (made["result"], repeated["detail"]) == ("imported", "is that of licenses.1 again; leave one of them out")
    assert total() == (2, 101)


def test_credits_need_the_scope_for_grants(admin, problem, total):
    document = problem(admin("POST", IMPORT, "manage", json={"licenses": LICENSES}), "admin_forbidden")
    assert document["scope"] == "grant"
    assert problem(admin("POST", IMPORT, "grant", json={"licenses": LICENSES}), "admin_forbidden")["scope"] == "manage"
    assert total()[1] == 0
    # The one without credits was in hand when the other was refused.
    without = admin("POST", IMPORT, "manage", json={"licenses": LICENSES[1:]}).get_json()
    assert (without["refused"], total()) == (0, (1, 0))


@pytest.mark.parametrize(
    ("license", "field"),
    [
        ({"credits": 1}, "key"),
        ({"key": "LIC-0001-A", "key_sha256": SHA256, "credits": 1}, "key"),
        ({"key": "SECRET", "credits": 1}, "key"),
        ({"key": 5, "credits": 1}, "key"),
        ({"key_sha256": "5F", "credits": 1}, "key_sha256"),
        ({"key": f"obol_{'0' * 32}_x", "credits": 1}, "key"),
        ({"key": "LIC-0001-A"}, "credits"),
        ({"key": "LIC-0001-A", "credits": -1}, "credits"),
        ({"key": "LIC-0001-A", "credits": 2**63}, "credits"),
        ({"key": "LIC-0001-A", "credits": 1, "status": "inactive"}, "status"),
        ({"key": "LIC-0001-A", "credits": 1, "expires_at": "soon"}, "expires_at"),
        ({"key": "LIC-0001-A", "credits": 1, "external_id": ""}, "external_id"),
        ({"key": "LIC-0001-A", "credits": 1, "license_key": "x"}, "license_key"),
    ],
)
def test_a_license_that_is_wrong_refuses_all_and_is_named(admin, problem, total, license, field):
    document = problem(admin("POST", IMPORT, json={"licenses": [LICENSES[0], license]}), "validation_failed")
    assert [error["field"] for error in document["errors"]] == [f"licenses.1.{field}"]
    assert "SECRET" not in document["detail"]
    assert total() == (0, 0)


@pytest.mark.parametrize("count", [0, 1001])
def test_so_many_at_once(admin, problem, count):
    document = problem(admin("POST", IMPORT, json={"licenses": [{"credits": 1}] * count}), "validation_failed")
    assert "must have 1 to 1000 licenses" in document["detail"] or count
