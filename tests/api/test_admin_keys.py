"""Keys and limits over the admin API, and what a client is told who passes one."""

from uuid import UUID, uuid4

import pytest
from factories import License

from service import keys


@pytest.fixture
def new_key(admin):
    """`new_key(license, **body)`: the answer, and the key as a license of its own to call with."""

    def make(license, **body):
        made = admin("POST", f"licenses/{license.id}/keys", "manage", json=body)
        assert made.status_code == 201
        key = made.get_json()
        return key, License(license.id, key["license_key"], keys.parse(key["license_key"]), UUID(key["key_id"]))

    return make


def deduct(client, license, amount=1):
    return client.post("/api/v1/deductions", json={"amount": amount}, headers=license.headers)


def test_a_key_is_made_listed_changed_and_revoked(admin, client, new_license, new_key, problem):
    license = new_license()
    made, key = new_key(license, name="CI", limits={"credits_per_day": 5, "models": ["claude-*"]})
    assert deduct(client, key).status_code == 200

    path = f"licenses/{license.id}/keys"
    first = admin("GET", path, "read", limit=1).get_json()
    listed = admin("GET", path, "read", cursor=first["next_cursor"]).get_json()
    assert first["keys"][0]["name"] == ""
    assert listed["next_cursor"] is None
    (row,) = listed["keys"]
    assert row["last_used_at"] is not None
    assert row == {name: made[name] for name in made if name != "license_key"} | {"last_used_at": row["last_used_at"]}

    path = f"{path}/{made['key_id']}"
    changed = admin("PATCH", path, "manage", json={"name": "X", "limits": {"models": None}, "expires_at": None})
    assert (changed.get_json()["name"], changed.get_json()["limits"]) == ("X", {"credits_per_day": 5})
    assert admin("PATCH", path, json={"limits": None}).get_json()["limits"] is None
    assert admin("DELETE", path, "manage").get_json()["revoked_at"] is not None
    problem(deduct(client, key), "license_invalid")
    problem(admin("PATCH", path, json={"name": "Y"}), "key_not_found")


def test_a_key_is_made_once_an_idempotency_key(admin, new_license, problem):
    license = new_license()
    path, headers = f"licenses/{license.id}/keys", {"Idempotency-Key": "deploy-7"}
    body = {"name": "CI", "limits": {"credits_per_day": 5}}
    first = admin("POST", path, "manage", json=body, headers=headers)
    again = admin("POST", path, "manage", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.get_json() == first.get_json() | {"license_key": None}
    problem(admin("POST", path, json=body | {"name": "other"}, headers=headers), "idempotency_key_reused")
    assert len(admin("GET", path).get_json()["keys"]) == 2


def test_who_passes_a_limit_is_told_which_and_until_when(client, new_license, new_key, problem):
    _, key = new_key(new_license(), limits={"requests_per_minute": 1})
    deduct(client, key)
    refused = deduct(client, key)
    document = problem(refused, "limit_exceeded", str(refused.get_json().get("retry_after_s")))
    told = {name: document[name] for name in ("limit", "limit_of", "limit_value", "used")}
    assert told == {"limit": "requests_per_minute", "limit_of": "key", "limit_value": 1, "used": 1}
    assert 55 <= document["retry_after_s"] <= 60


def test_a_model_that_is_not_allowed_never_reaches_the_upstream(client, new_license, new_key, upstream, problem):
    _, key = new_key(new_license(), limits={"models": ["other-*"]})
    body = {"prompt": "Hello", "model": "claude-haiku-4-5"}
    refused = client.post("/api/v1/generate", json=body, headers=key.headers)
    assert problem(refused, "model_not_allowed")["allowed"] == ["other-*"]
    wire = {"model": "claude-haiku-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
    refused = client.post("/v1/messages", json=wire, headers=key.headers)
    assert (refused.status_code, refused.get_json()["error"]["type"]) == (403, "permission_error")
    assert client.post("/api/v1/generate", json=body | {"model": "other-1"}, headers=key.headers).status_code == 200


def test_a_generation_counts_with_its_charge(client, new_license, new_key, sql):
    _, key = new_key(new_license(), limits={"concurrent_holds": 1})
    answered = client.post("/api/v1/generate", json={"prompt": "Hello"}, headers=key.headers)
    charged = answered.get_json()["credits"]["charged"]
    assert sql("SELECT open_holds, day_credits::int FROM obol.limit_states") == [(0, charged)]


def test_a_license_has_limits_too(admin, client, problem):
    made = admin("POST", "licenses", json={"credits": 50, "limits": {"credits_per_month": 20}}).get_json()
    headers = {"Authorization": f"Bearer {made['license_key']}"}
    refused = client.post("/api/v1/deductions", json={"amount": 21}, headers=headers)
    retry_after = str(refused.get_json().get("retry_after_s"))
    assert problem(refused, "limit_exceeded", retry_after)["limit_of"] == "license"
    path = f"licenses/{made['license_id']}"
    changed = admin("PATCH", path, json={"limits": {"concurrent_holds": 3}}).get_json()
    assert changed["limits"] == {"credits_per_month": 20, "concurrent_holds": 3}
    assert admin("PATCH", path, json={"limits": None}).get_json()["limits"] is None
    (listed,) = admin("GET", "licenses").get_json()["licenses"]
    assert listed["limits"] is None
    assert client.post("/api/v1/deductions", json={"amount": 21}, headers=headers).status_code == 200


def test_the_same_idempotency_key_with_other_limits_is_refused(admin, problem):
    key = {"Idempotency-Key": "k"}
    first = admin("POST", "licenses", json={"limits": {"concurrent_holds": 1}}, headers=key).get_json()
    again = admin("POST", "licenses", json={"limits": {"concurrent_holds": 1}}, headers=key).get_json()
    assert again == first | {"license_key": None}
    problem(admin("POST", "licenses", json={"limits": {"concurrent_holds": 2}}, headers=key), "idempotency_key_reused")


def test_one_key_is_rotated(admin, client, new_license, new_key, problem):
    license = new_license()
    made, key = new_key(license, name="CI")
    body = {"overlap_s": 0, "key_id": made["key_id"]}
    rotated = admin("POST", f"licenses/{license.id}/rotate", json=body).get_json()
    assert rotated["key_id"] != made["key_id"]
    problem(deduct(client, key), "license_invalid")
    assert deduct(client, license).status_code == 200


@pytest.mark.parametrize(
    ("limits", "field"),
    [
        ({"requests_per_minute": 0}, "requests_per_minute"),
        ({"requests_per_minute": 1.0}, "requests_per_minute"),
        ({"concurrent_holds": 1_000_001}, "concurrent_holds"),
        ({"credits_per_day": 2**63}, "credits_per_day"),
        ({"models": []}, "models"),
        ({"models": [""]}, "models"),
        ({"models": ["m" * 201]}, "models"),
        ({"models": ["a*b"]}, "models"),
        ({"models": ["*a"]}, "models"),
        ({"calls": 1}, "calls"),
        ([], "limits"),
        ("none", "limits"),
    ],
)
def test_what_is_no_limit_is_refused_by_name(admin, new_license, problem, limits, field):
    license = new_license()
    for method, path in (
        ("POST", "licenses"),
        ("PATCH", f"licenses/{license.id}"),
        ("POST", f"licenses/{license.id}/keys"),
    ):
        assert field in str(problem(admin(method, path, json={"limits": limits}), "validation_failed"))


def test_a_change_of_nothing_is_refused(admin, new_license, new_key, problem):
    license = new_license()
    made, _ = new_key(license)
    problem(
        admin("PATCH", f"licenses/{license.id}/keys/{made['key_id']}", json={"allow_past": True}), "validation_failed"
    )


def test_what_is_not_there_is_not_found(admin, new_license, problem):
    problem(admin("GET", f"licenses/{uuid4()}/keys"), "license_not_found")
    problem(admin("DELETE", f"licenses/{new_license().id}/keys/{uuid4()}"), "key_not_found")


def test_who_may_only_read_makes_no_key(admin, new_license, problem):
    problem(admin("POST", f"licenses/{new_license().id}/keys", "read", json={}), "admin_forbidden")
