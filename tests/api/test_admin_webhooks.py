"""Webhooks, events and alerts over the admin API."""

from uuid import uuid4

import pytest

from service.api.admin.webhooks import MAX_OVERLAP_S

KEYS = {"OBOL_WEBHOOK_KEYS": "A" * 43}
URL = "https://example.com/events"


@pytest.fixture
def environ(environ):
    return environ | KEYS


@pytest.fixture
def made(admin):
    """`made(**fields)`: a webhook as it was answered."""

    def make(**fields):
        response = admin("POST", "webhooks", json={"url": URL} | fields)
        assert response.status_code == 201, response.get_json()
        return response.get_json()

    return make


def test_a_webhook_is_made_shown_paused_and_deleted(admin, made, problem):
    webhook = made(name="shop", types=["key.revoked"])
    assert webhook.pop("secret").startswith("whsec_")
    assert admin("GET", f"webhooks/{webhook['webhook_id']}", "read").get_json() == webhook
    assert admin("GET", "webhooks", "read").get_json() == {"webhooks": [webhook], "next_cursor": None}
    path = f"webhooks/{webhook['webhook_id']}"
    paused = admin("PATCH", path, "manage", "read", json={"paused": True}).get_json()
    assert (paused["status"], paused["paused_because"]) == ("paused", "operator")
    assert admin("PATCH", path, json={"paused": False}).get_json() == webhook
    for _ in range(2):
        assert admin("DELETE", path, "manage").status_code == 204
    for method, below, body in (
        ("GET", "", None), ("PATCH", "", {"paused": True}), ("POST", "/rotate", {}), ("POST", "/replay", {}),
    ):  # fmt: skip
        problem(admin(method, path + below, json=body), "not_found")
    problem(admin("DELETE", f"webhooks/{uuid4()}"), "not_found")


def test_webhooks_are_listed_by_pages_oldest_first(admin, made):
    webhooks = [{**made(name=name), "secret": None} for name in ("first", "second", "third")]
    page = admin("GET", "webhooks", "read", limit=2).get_json()
    rest = admin("GET", "webhooks", "read", limit=2, cursor=page["next_cursor"]).get_json()
    assert [webhook | {"secret": None} for webhook in page["webhooks"] + rest["webhooks"]] == webhooks
    assert rest["next_cursor"] is None


def test_a_secret_is_rotated(admin, made, problem):
    webhook = made()
    path = f"webhooks/{webhook['webhook_id']}/rotate"
    rotated = admin("POST", path, json={}).get_json()
    assert rotated["secret"] != webhook["secret"]
    assert rotated["old_secret_until"] is not None
    problem(admin("POST", path, json={"overlap_s": MAX_OVERLAP_S + 1}), "validation_failed")


def test_events_are_listed_by_pages_and_replayed(admin, made, new_license, problem):
    license = new_license(credits=5)
    webhook = made()
    new_license(credits=5)
    page = admin("GET", "events", "read", limit=1).get_json()
    (event,) = page["events"]
    assert [delivery["state"] for delivery in event["deliveries"]] == ["waiting"]
    (older,) = admin("GET", "events", limit=1, cursor=page["next_cursor"]).get_json()["events"]
    assert (older["license_id"], older["type"], older["deliveries"]) == (str(license.id), "grant.created", [])
    assert admin("GET", "events", license_id=str(license.id), type="grant.created").get_json()["events"] == [older]
    path = f"webhooks/{webhook['webhook_id']}/replay"
    assert admin("POST", path, json={"event_id": older["event_id"]}).get_json() == {"replayed": 1}
    assert admin("POST", path, json={}).get_json() == {"replayed": 0}
    problem(admin("POST", path, json={"event_id": str(uuid4())}), "not_found")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"url": "http://example.com"},
        {"url": "https://127.0.0.1/"},
        {"url": "https://localhost/"},
        {"url": URL, "types": []},
        {"url": URL, "types": ["key.made"]},
        {"url": URL, "types": ["key.revoked", "key.revoked"]},
    ],
)
def test_what_is_no_webhook_is_refused(admin, problem, body):
    problem(admin("POST", "webhooks", json=body), "validation_failed")


def test_without_keys_no_webhook_is_made(make_client, new_token, problem):
    client = make_client(OBOL_WEBHOOK_KEYS=None)
    headers = {"Authorization": f"Bearer {new_token()}"}
    response = client.post("/api/v1/admin/webhooks", json={"url": URL}, headers=headers)
    assert "OBOL_WEBHOOK_KEYS" in problem(response, "validation_failed")["detail"]


def test_who_may_only_read_changes_nothing(admin, made, problem):
    path = f"webhooks/{made()['webhook_id']}"
    for method, where, body in (
        ("POST", "webhooks", {"url": URL}), ("PATCH", path, {"paused": True}), ("POST", f"{path}/rotate", {}),
        ("POST", f"{path}/replay", {}), ("DELETE", path, None),
    ):  # fmt: skip
        problem(admin(method, where, "read", "grant", "tokens", json=body), "admin_forbidden")


def test_alerts_are_set_shown_and_taken_away(admin, new_license, problem):
    path = f"licenses/{new_license(credits=1000).id}"
    alerts = {"credits": [100], "percent": [20]}
    changed = admin("PATCH", path, json={"alerts": alerts, "email": "ada@example.com"}).get_json()
    assert (changed["alerts"], changed["email"]) == (alerts, "ada@example.com")
    assert admin("GET", path, "read").get_json() == changed
    assert admin("PATCH", path, json={"name": "Ada"}).get_json() == changed | {"name": "Ada"}
    twice = {"credits": [300, 100, 300], "percent": [20, 20]}
    each_once = admin("PATCH", path, json={"alerts": twice}).get_json()["alerts"]
    assert each_once == {"credits": [100, 300], "percent": [20]}
    gone = admin("PATCH", path, json={"alerts": None, "email": None}).get_json()
    assert (gone["alerts"], gone["email"]) == (None, None)
    for wrong in (
        {"alerts": {"credits": [0]}}, {"alerts": {"percent": [100]}}, {"alerts": {"credits": []}},
        {"alerts": {"x": [1]}},
        {"email": "ada"}, {"email": "a@b\r\nBcc: c@d"},
    ):  # fmt: skip
        problem(admin("PATCH", path, json=wrong), "validation_failed")
