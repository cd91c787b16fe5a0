"""/api/v1/license/keys: the keys that whoever holds a license makes."""

import pytest

from service.repository import limits

PATH = "/api/v1/license/keys"


@pytest.fixture
def license(new_license, owner):
    made = new_license(credits=100)
    limits.set_own_keys(owner, made.id, 2)
    return made


def test_a_key_is_made_listed_changed_and_revoked(client, license, problem):
    body = {"name": "CI", "limits": {"credits_per_day": 5}}
    headers = license.headers | {"Idempotency-Key": "k"}
    made = client.post(PATH, json=body, headers=headers)
    assert made.status_code == 201
    key = made.get_json()
    assert client.post(PATH, json=body, headers=headers).get_json() == key | {"license_key": None}
    theirs = {"x-api-key": key["license_key"]}
    assert client.post("/api/v1/deductions", json={"amount": 5}, headers=theirs).status_code == 200
    assert client.post("/api/v1/deductions", json={"amount": 5}, headers=theirs).status_code == 429
    problem(client.get(PATH, headers=theirs), "keys_not_allowed")

    one = f"{PATH}/{key['key_id']}"
    assert client.patch(one, json={"limits": None}, headers=license.headers).get_json()["limits"] is None
    problem(client.patch(one, json={}, headers=license.headers), "validation_failed")
    problem(client.patch(one, json={"expires_at": None}, headers=license.headers), "validation_failed")
    assert client.delete(one, headers=license.headers).get_json()["revoked_at"] is not None
    (listed,) = client.get(PATH, headers=license.headers).get_json()["keys"]
    assert (listed["key_id"], "license_key" in listed) == (key["key_id"], False)
    problem(client.post("/api/v1/deductions", json={"amount": 5}, headers=theirs), "license_invalid")


def test_it_is_the_operator_who_allows_it(admin, client, new_license, problem):
    license = new_license()
    problem(client.post(PATH, json={"name": "CI"}, headers=license.headers), "keys_not_allowed")
    assert admin("GET", f"licenses/{license.id}").get_json()["own_keys"] == 0
    changed = admin("PATCH", f"licenses/{license.id}", "manage", json={"own_keys": 1})
    assert changed.get_json()["own_keys"] == 1
    assert client.post(PATH, json={"name": "CI"}, headers=license.headers).status_code == 201
    problem(admin("PATCH", f"licenses/{license.id}", json={"own_keys": 101}), "validation_failed")
