"""Top-up by card over HTTP: packages, checkout at a Stripe of the tests' own, and its webhook."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_stripe import API_KEY, SECRET, FakeStripe, sign

from service.repository import admin as trail
from service.repository import payments as repository

PACK = {"name": "Pack", "price": 1000, "currency": "eur", "credits": 500}


@pytest.fixture
def stripe():
    fake = FakeStripe()
    yield fake
    fake.stop()


@pytest.fixture
def environ(environ, stripe, owner):
    repository.set_secret(owner, SECRET, 0)
    return environ | {
        "OBOL_STRIPE_SECRET_KEY": API_KEY,
        "OBOL_STRIPE_API_BASE": stripe.url,
        "OBOL_PUBLIC_URL": "https://credits.example/",
    }


@pytest.fixture
def sold(owner):
    repository.set_package(owner, "pack", **PACK)


@pytest.fixture
def checkout(client):
    def ask(license, package_id="pack", key=None, **more):
        headers = license.headers | ({"Idempotency-Key": key} if key else {})
        return client.post("/api/v1/license/checkout", json={"package_id": package_id, **more}, headers=headers)

    return ask


@pytest.fixture
def hook(client):
    def send(event, signature=None):
        return client.post(
            "/webhooks/stripe",
            data=event,
            content_type="application/json; charset=utf-8",
            headers={"Stripe-Signature": sign(event) if signature is None else signature},
        )

    return send


def session_of(stripe, payment_id):
    return next(id for id, said in stripe.sessions.items() if said["metadata"]["payment_id"] == payment_id)


def test_packages_are_made_changed_ended_and_audited(admin, client, new_license, problem, owner):
    made = admin("PUT", "packages/pack", "manage", json=PACK)
    assert made.get_json() == {"id": "pack", **PACK, "lifetime_days": None, "active": True}
    admin("PUT", "packages/pack", json=PACK)
    admin("PUT", "packages/big", json=PACK | {"price": 5000, "lifetime_days": 365})
    listed = client.get("/api/v1/license/packages", headers=new_license().headers).get_json()["packages"]
    assert [(row["id"], row["price"], row["lifetime_days"]) for row in listed] == [
        ("pack", 1000, None),
        ("big", 5000, 365),
    ]
    for _ in range(2):
        assert admin("DELETE", "packages/pack", "manage").get_json()["active"] is False
    assert [row["active"] for row in admin("GET", "packages", "read").get_json()["packages"]] == [False, True]
    left = client.get("/api/v1/license/packages", headers=new_license().headers).get_json()["packages"]
    assert [row["id"] for row in left] == ["big"]
    problem(admin("DELETE", "packages/none"), "package_not_found")
    problem(admin("PUT", "packages/pack", "read", json=PACK), "admin_forbidden")
    acts = [(act.act, act.target) for act in trail.list_acts(owner) if "package" in act.act]
    assert acts == [("end_package", "pack"), ("set_package", "big"), ("set_package", "pack")]


@pytest.mark.parametrize(
    ("package_id", "body", "field"),
    [
        ("Pack", PACK, "package_id"),
        ("pack", PACK | {"price": 0}, "price"),
        ("pack", PACK | {"price": 100_000_000}, "price"),
        ("pack", PACK | {"currency": "EUR"}, "currency"),
        ("pack", PACK | {"credits": 0}, "credits"),
        ("pack", PACK | {"lifetime_days": 0}, "lifetime_days"),
        ("pack", PACK | {"name": ""}, "name"),
    ],
)
def test_a_package_that_is_wrong_is_refused(admin, problem, package_id, body, field):
    document = problem(admin("PUT", f"packages/{package_id}", json=body), "validation_failed")
    assert document["errors"][0]["field"] == field


@pytest.mark.parametrize("wrong", [{"price": 0}, {"credits": 0}, {"lifetime_days": 0}])
def test_the_database_refuses_such_a_package_too(owner, wrong):
    with pytest.raises(Exception, match="amount_invalid"):
        repository.set_package(owner, "pack", **PACK | wrong)


@pytest.mark.usefixtures("sold")
def test_who_pays_gets_the_credits_once(checkout, client, stripe, hook, new_license, admin, verified):
    license = new_license(credits=7)
    begun = checkout(license, key="k", success_url="https://credits.example/thanks?a=1")
    assert begun.status_code == 201
    document = begun.get_json()
    assert checkout(license, key="k", success_url="https://credits.example/thanks?a=1").get_json() == document
    ((method, path, said, key),) = stripe.requests
    assert (method, path, key) == ("POST", "/v1/checkout/sessions", document["payment_id"])
    metadata = {"license_id": str(license.id), "payment_id": document["payment_id"], "package_id": "pack"}
    assert said["metadata"] == said["payment_intent_data"]["metadata"] == metadata
    assert said["payment_method_types"] == {"0": "card"}
    assert said["success_url"] == "https://credits.example/thanks?a=1"
    assert said["cancel_url"] == "https://credits.example/account/top-up/back"
    assert document["checkout_url"].startswith("https://checkout.stripe.com/")

    event = stripe.completed(session_of(stripe, document["payment_id"]))
    assert [hook(event).get_json()["outcome"] for _ in range(3)] == ["booked", "replayed", "replayed"]
    assert client.get("/api/v1/license", headers=license.headers).get_json()["balance"] == 507
    paid = client.get("/api/v1/license/payments", headers=license.headers).get_json()
    assert [(row["id"], row["state"], row["owed"]) for row in paid["payments"]] == [(document["payment_id"], "paid", 0)]
    hook(stripe.refunded(session_of(stripe, document["payment_id"]), 1000, currency="usd"))
    for query in ({}, {"license_id": str(license.id)}):
        (of_operator,) = admin("GET", "payments", "read", **query).get_json()["payments"]
        assert (of_operator["license_id"], "usd" in of_operator["disagreement"]) == (str(license.id), True)
    verified()


@pytest.mark.usefixtures("sold")
def test_payments_are_listed_in_pages(checkout, client, new_license, admin, problem):
    license = new_license()
    begun = [checkout(license).get_json()["payment_id"] for _ in range(3)]
    path = "/api/v1/license/payments?limit=2"
    first = client.get(path, headers=license.headers).get_json()
    rest = client.get(f"{path}&cursor={first['next_cursor']}", headers=license.headers).get_json()
    assert [row["id"] for row in first["payments"] + rest["payments"]] == begun[::-1]
    assert rest["next_cursor"] is None
    assert first["payments"][0]["checkout_url"].startswith("https://checkout.stripe.com/")
    pages = [admin("GET", "payments", limit=2).get_json()]
    pages.append(admin("GET", "payments", limit=2, cursor=pages[0]["next_cursor"]).get_json())
    assert [row["id"] for page in pages for row in page["payments"]] == begun[::-1]
    problem(admin("GET", "payments", license_id="00000000-0000-4000-8000-000000000000"), "license_not_found")
    document = problem(admin("GET", "payments", license_id=str(license.id), owed=1), "validation_failed")
    assert document["errors"][0]["field"] == "owed"


@pytest.mark.usefixtures("sold")
def test_what_is_owed_is_listed_apart(checkout, stripe, hook, client, new_license, admin):
    license, other = new_license(credits=0), new_license(credits=0)
    for one in (license, other):
        session_id = session_of(stripe, checkout(one).get_json()["payment_id"])
        hook(stripe.completed(session_id))
        if one is license:
            client.post("/api/v1/deductions", json={"amount": 30}, headers=one.headers, buffered=True)
        hook(stripe.refunded(session_id, 1000))
    listed = admin("GET", "payments", "read").get_json()["payments"]
    assert [(row["license_id"], row["owed"]) for row in listed] == [(str(other.id), 0), (str(license.id), 30)]
    (owed,) = admin("GET", "payments", "read", owed=1).get_json()["payments"]
    assert (owed["license_id"], owed["owed"], owed["refunded"]) == (str(license.id), 30, 1000)


@pytest.mark.usefixtures("sold")
def test_who_names_no_page_comes_back_to_the_account(checkout, stripe, new_license):
    made = checkout(new_license()).get_json()
    said = stripe.sessions[session_of(stripe, made["payment_id"])]
    assert said["success_url"] == f"https://credits.example/account/top-up/{made['payment_id']}/back"
    assert said["cancel_url"] == "https://credits.example/account/top-up/back"


@pytest.mark.usefixtures("sold")
def test_a_checkout_that_stripe_did_not_make_is_made_by_the_next_try(checkout, stripe, new_license, problem, sql):
    license = new_license()
    stripe.fails += [500]
    problem(checkout(license, key="k"), "stripe_error", "1")
    stripe.fails += [402]
    problem(checkout(license, key="k"), "stripe_error")
    made = checkout(license, key="k").get_json()
    assert len({key for *_, key in stripe.requests}) == 1
    assert checkout(license, key="k").get_json() == made
    problem(checkout(license, key="k", cancel_url="https://credits.example/"), "idempotency_key_reused")

    stripe.fails += [500]
    problem(checkout(license, key="late"), "stripe_error", "1")
    sql("UPDATE obol.payments SET created_at = created_at - interval '61 minutes' WHERE checkout_url IS NULL")
    problem(checkout(license, key="late"), "answer_gone")


@pytest.mark.usefixtures("sold")
def test_the_event_may_be_faster_than_the_answer(checkout, stripe, hook, new_license, sql):
    license = new_license(credits=0)
    made = checkout(license, key="k").get_json()
    sql("UPDATE obol.payments SET checkout_url = NULL, session_id = NULL")
    assert hook(stripe.completed(session_of(stripe, made["payment_id"]))).get_json() == {"outcome": "booked"}
    assert checkout(license, key="k").get_json() == made


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/",
        "https://credits.example.evil.example/",
        "https://credits.example@evil.example/",
        "https://credits.example:444/",
        "http://credits.example/",
        "//credits.example/",
        "/account",
        "javascript:alert(1)",
        "https://credits.example\\@evil.example/",
        "https://credits.example /",
        "https://[",
    ],
)
def test_nobody_is_sent_elsewhere_after_it(checkout, stripe, new_license, problem, url):
    for field in ("success_url", "cancel_url"):
        document = problem(checkout(new_license(), **{field: url}), "validation_failed")
        assert document["errors"][0]["field"] == field
    assert stripe.requests == []


@pytest.mark.usefixtures("sold")
def test_a_checkout_is_refused_before_stripe_is_asked(checkout, stripe, client, new_license, problem, admin, sql):
    license = new_license()
    problem(checkout(license, "none"), "package_not_found")
    assert problem(checkout(license, ""), "validation_failed")["errors"][0]["field"] == "package_id"
    problem(client.post("/api/v1/license/checkout", json={"package_id": "pack"}), "credentials_missing")
    admin("PATCH", f"licenses/{license.id}", json={"status": "suspended"})
    problem(checkout(license), "license_inactive")
    assert stripe.requests == []
    busy = new_license()
    assert {checkout(busy).status_code for _ in range(20)} == {201}
    assert problem(checkout(busy), "limit_exceeded", "3600")["limit"] == "pending_payments"
    sql("UPDATE obol.payments SET expires_at = now() WHERE license_id = %s", (str(busy.id),))
    assert checkout(busy).status_code == 201


@pytest.mark.usefixtures("sold")
def test_what_is_forged_old_or_changed_is_not_booked(checkout, stripe, hook, new_license, problem, client):
    license = new_license(credits=0)
    event = stripe.completed(session_of(stripe, checkout(license).get_json()["payment_id"]))
    for signature in (
        "",
        "t=1",
        "v1=" + "0" * 64,
        "t=1,v1=" + "0" * 64,
        sign(event, secret="whsec_another_secret"),
        sign(event, at=1_700_000_000),
        sign(event + b"\n"),
    ):
        problem(hook(event, signature), "signature_invalid")
    problem(client.post("/webhooks/stripe", data="{", content_type="application/json"), "malformed_request")
    problem(hook(b'{"a": "' + b"x" * 300_000 + b'"}'), "payload_too_large")
    assert client.get("/api/v1/license", headers=license.headers).get_json()["balance"] == 0
    # Larger than what has to show a license at once.
    large = json.dumps(json.loads(event) | {"more": "x" * 100_000}).encode()
    assert hook(large).get_json() == {"outcome": "booked"}


@pytest.mark.parametrize(
    "event",
    [
        {"id": "evt_1", "type": "customer.created", "data": {"object": {"metadata": {}}}},
        {"id": "evt_1", "type": "charge.refunded", "data": {"object": {"metadata": {"license_id": "7"}}}},
        {"id": "evt_1", "type": "charge.refunded", "data": {"object": []}},
        {"id": "evt_1", "type": "charge.refunded"},
        {"id": "evt_1", "type": "charge.dispute.created", "data": {"object": {}}},
        {},
    ],
)
def test_what_is_not_ours_is_ignored(hook, event):
    response = hook(json.dumps(event).encode())
    assert (response.status_code, response.get_json()) == (200, {"outcome": "ignored"})


@pytest.mark.usefixtures("sold")
def test_a_dispute_finds_its_payment_or_comes_again(checkout, stripe, hook, new_license, client, problem, logged):
    license = new_license(credits=0)
    session_id = session_of(stripe, checkout(license).get_json()["payment_id"])
    dispute = stripe.dispute(session_id, "created", "needs_response")
    problem(hook(dispute), "payment_not_found", "60")
    hook(stripe.completed(session_id))
    assert hook(dispute).get_json() == {"outcome": "booked"}
    assert client.get("/api/v1/license", headers=license.headers).get_json()["balance"] == 0
    # Of another shop on the same account.
    foreign = stripe.dispute(stripe.add_session(metadata={"order": "7"}), "created", "needs_response")
    assert hook(foreign).get_json() == {"outcome": "ignored"}
    stripe.fails += [500]
    problem(hook(foreign), "stripe_error", "1")
    wrong = stripe.refunded(session_id, 1000, amount=7)
    assert hook(wrong).get_json() == {"outcome": "disagrees"}
    (line,) = [line for line in logged if line["event"] == "stripe_event_disagrees"]
    assert line["license_id"] == str(license.id)


@pytest.mark.usefixtures("sold")
def test_the_same_event_twenty_times_at_once(app, checkout, stripe, new_license, client, verified):
    license = new_license(credits=0)
    event = stripe.completed(session_of(stripe, checkout(license).get_json()["payment_id"]))

    def send(_):
        headers = {"Stripe-Signature": sign(event)}
        response = app.test_client().post(
            "/webhooks/stripe", data=event, content_type="application/json", headers=headers
        )
        return response.get_json()["outcome"]

    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(send, range(20)))
    assert sorted(outcomes) == ["booked"] + ["replayed"] * 19
    assert client.get("/api/v1/license", headers=license.headers).get_json()["balance"] == 500
    verified()


def test_without_stripe_nothing_is_sold_and_all_else_is_as_it_was(make_client, new_license, problem):
    client = make_client(OBOL_STRIPE_SECRET_KEY=None, OBOL_PUBLIC_URL=None)
    headers = new_license().headers
    problem(client.get("/api/v1/license/packages", headers=headers), "payments_not_configured")
    checkout = client.post("/api/v1/license/checkout", json={"package_id": "pack"}, headers=headers)
    problem(checkout, "payments_not_configured")
    problem(client.post("/webhooks/stripe", json={}), "payments_not_configured")
    assert client.get("/api/v1/license/payments", headers=headers).get_json()["payments"] == []
    assert client.get("/api/v1/license", headers=headers).status_code == 200
