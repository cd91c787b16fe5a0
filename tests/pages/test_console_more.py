"""The console's pages of webhooks, alerts, rotation, the holder's own keys, and health."""

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from uuid import UUID, uuid4

import pytest
from browsing import BROWSER, fields_of, multi, posts

from service import operator as acts
from service import sealing
from service.http.services import services_of
from service.repository import ledger, limits, processes, webhooks
from service.repository.grants import Terms
from service.repository.webhooks import Attempt

URL = "https://shop.example.com/obol"


def page_of(license):
    return f"/console/licenses/{license.id}"


@pytest.fixture
def sealed(environ):
    """Before the service is made: it can seal the secrets of webhooks, and takes any address for one."""
    environ |= {"OBOL_WEBHOOK_KEYS": "W" * 42 + "A", "OBOL_WEBHOOK_ALLOW_PRIVATE": "1"}


@pytest.fixture
def webhook(owner):
    """`webhook(name)`: the page of one."""

    def make(name="shop"):
        webhook_id = uuid4()
        webhooks.create(owner, webhook_id, url=URL, name=name, types=None, secret=b"sealed")
        return f"/console/webhooks/{webhook_id}"

    return make


@pytest.fixture
def fail(db):
    """`fail(is_final)`: have the first event that waits fail."""

    def end(*, is_final=False):
        (due,) = webhooks.due_deliveries(db, 1, with_email=False)
        claim_id = uuid4()
        webhooks.claim(db, due, claim_id, lease_s=60)
        attempt = Attempt("it answered with status 500", 500, is_final=is_final)
        webhooks.end(db, due, claim_id, attempt=attempt)
        webhooks.note(db, due.webhook_id, error=attempt.error)

    return end


def test_a_webhook_is_made_once_and_its_secret_shown_once(sealed, operator, sql):
    person = operator()
    fields = {"url": URL, "name": "shop", "types": ["grant.created", "key.revoked"]}
    form = person.forms("/console/webhooks")["/console/webhooks"]
    asked = person.client.post("/console/webhooks", data=form | fields, headers=BROWSER)
    assert "grant.created, key.revoked" in asked.get_data(as_text=True)
    data = multi(fields_of(asked.get_data(as_text=True)))
    made, again = (person.client.post("/console/webhooks", data=data, headers=BROWSER) for _ in range(2))
    assert "whsec_" in made.get_data(as_text=True)
    assert (again.status_code, "whsec_" in again.get_data(as_text=True)) == (409, False)
    assert sql("SELECT types FROM obol.webhooks WHERE kind = 'http'") == [(["grant.created", "key.revoked"],)]
    assert "shop" in person.get("/console/webhooks")


def secret_of(response):
    return re.search("whsec_[A-Za-z0-9+/=]+", unescape(response.get_data(as_text=True)))[0]


@pytest.fixture
def stored(app, sql):
    """`stored(column)`: the secret that the only webhook has, opened."""

    def read(column="secret"):
        ((webhook_id, sealed),) = sql(f"SELECT webhook_id::text, {column} FROM obol.webhooks WHERE kind = 'http'")
        return sealing.unseal(services_of(app).webhook_settings.keys, bytes(sealed), UUID(webhook_id).bytes).decode()

    return read


def test_a_form_sent_twice_at_once_shows_the_secret_that_is_stored(sealed, operator, stored, owner, monkeypatch):
    person = operator()
    asked = person.send("/console/webhooks", {"url": URL, "types": ""}, "/console/webhooks")
    data = multi(fields_of(asked.get_data(as_text=True)))
    first = person.client.post("/console/webhooks", data=data, headers=BROWSER)
    # The other one looked before the first had made it.
    looks = iter([[], webhooks.list_webhooks(owner)])
    monkeypatch.setattr(webhooks, "list_webhooks", lambda *_, **__: next(looks))
    second = person.client.post("/console/webhooks", data=data, headers=BROWSER)
    assert (secret_of(first), secret_of(second)) == (stored(), stored())


def test_a_rotation_that_is_sent_twice_keeps_the_secret_before(sealed, operator, stored, sql):
    person = operator()
    before = secret_of(person.act("/console/webhooks", {"url": URL, "types": ""}, "/console/webhooks"))
    ((webhook_id,),) = sql("SELECT webhook_id::text FROM obol.webhooks WHERE kind = 'http'")
    page = f"/console/webhooks/{webhook_id}"
    asked = person.send(f"{page}/rotate", {"hours": "1"}, page)
    data = multi(fields_of(asked.get_data(as_text=True)))
    first, second = (person.client.post(f"{page}/rotate", data=data, headers=BROWSER) for _ in range(2))
    assert secret_of(first) == secret_of(second) == stored() != before
    assert stored("old_secret") == before
    third = secret_of(person.act(f"{page}/rotate", {"hours": "1"}, page))
    assert (third, stored("old_secret")) == (stored(), secret_of(first))


def test_all_events_are_the_default_and_an_address_is_looked_at(sealed, operator, sql):
    person = operator()
    asked = person.send("/console/webhooks", {"url": URL, "types": ""}, "/console/webhooks")
    assert "all, and those to come" in asked.get_data(as_text=True)
    assert "whsec_" in person.confirm(asked).get_data(as_text=True)
    assert sql("SELECT types FROM obol.webhooks WHERE kind = 'http'") == [(None,)]
    wrong = person.act("/console/webhooks", {"url": "ftp://shop.example.com"}, "/console/webhooks")
    assert wrong.status_code == 422


def test_without_a_key_to_seal_with_there_is_no_form(operator):
    html = operator().get("/console/webhooks")
    assert "OBOL_WEBHOOK_KEYS" in html
    assert "/console/webhooks" not in posts(html)


def test_a_webhook_that_fails_is_shown_paused_and_goes_on(operator, webhook, fail, new_license):
    person, page = operator(), webhook()
    license = new_license()
    assert "Every event was taken" in person.get("/console")
    fail()
    assert "it answered with status 500" in person.get("/console")
    html = person.get(page)
    assert "grant.created" in html
    assert str(license.id)[:8] in html
    assert "it answered with status 500" in html
    for word in ("paused", "resumed"):
        moved = person.act(f"{page}/pause", {}, page)
        assert moved.headers["Location"] == f"{page}?done=webhook_{word}"
    assert "by an operator" not in person.get(page)


def test_what_was_given_up_is_delivered_once_more(operator, webhook, fail, new_license, sql):
    person, page = operator(), webhook()
    new_license()
    fail(is_final=True)
    assert "failed" in person.get(page)
    done = person.act(f"{page}/replay", {}, page)
    assert done.headers["Location"] == f"{page}?done=replayed"
    assert sql("SELECT state FROM obol.deliveries") == [("waiting",)]
    assert person.act(f"{page}/replay", {}, page).status_code == 303


def test_one_event_is_delivered_once_more(operator, webhook, fail, new_license):
    person, page = operator(), webhook()
    new_license()
    fail(is_final=True)
    (event_id,) = re.findall('name="event_id" value="([^"]+)"', person.get(page))
    csrf = person.forms(page)["/console/logout"]["csrf"]
    asked = person.client.post(f"{page}/replay", data={"csrf": csrf, "event_id": event_id}, headers=BROWSER)
    assert "Deliver the event" in asked.get_data(as_text=True)
    assert person.confirm(asked).status_code == 303


def test_a_secret_is_rotated_and_a_webhook_deleted(sealed, operator, webhook):
    person, page = operator(), webhook()
    assert "whsec_" in person.act(f"{page}/rotate", {"hours": "1"}, page).get_data(as_text=True)
    assert "Two secrets until" in person.get(page)
    gone = person.act(f"{page}/delete", {}, page)
    assert gone.headers["Location"] == "/console/webhooks?done=webhook_deleted"
    person.get(page, 404)
    person.get(f"/console/webhooks/{uuid4()}", 404)


def test_a_license_s_alerts_are_set(operator, new_license, owner):
    person, license = operator(), new_license()
    page = page_of(license)
    fields = {"credits": "100 5000", "percent": "20", "email": "ada@example.com"}
    asked = person.send(f"{page}/alerts", fields, page)
    assert "100; 5,000" in asked.get_data(as_text=True)
    assert person.confirm(asked).headers["Location"] == f"{page}?done=alerts"
    assert webhooks.show_alerts(owner, license.id) == ({"credits": [100, 5000], "percent": [20]}, "ada@example.com")
    html = person.get(page)
    assert "at 5,000" in html
    assert "at 20%" in html
    person.act(f"{page}/alerts", {"credits": "", "percent": "", "email": ""}, page)
    assert webhooks.show_alerts(owner, license.id) == (None, None)


@pytest.mark.parametrize("typed", ["5000 100 5000", "100, 5000", "5000;100", "100;\n5_000\n100", "100,  5000 ;"])
def test_thresholds_are_told_apart_in_any_way_that_is_clear(operator, new_license, owner, typed):
    person, license = operator(), new_license()
    page = page_of(license)
    person.act(f"{page}/alerts", {"credits": typed}, page)
    assert webhooks.show_alerts(owner, license.id).alerts == {"credits": [100, 5000]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"credits": "100,200"}, "credits: must be numbers with spaces between, and without commas"),
        ({"percent": "5,10 20"}, "percent: must be numbers with spaces between, and without commas"),
        ({"credits": "0"}, "from 1 to"),
        ({"credits": "many"}, "from 1 to"),
        ({"percent": "100"}, "from 1 to 99"),
        ({"percent": "1 2 3 4 5 6 7 8 9 10 11"}, "10 numbers at most"),
        ({"email": "ada"}, "must be an e-mail address"),
    ],
)
def test_alerts_that_cannot_be_are_named(operator, new_license, fields, said):
    person, license = operator(), new_license()
    response = person.send(f"{page_of(license)}/alerts", fields, page_of(license))
    assert response.status_code == 422
    assert said in response.get_data(as_text=True)


def test_a_license_shows_its_events(operator, new_license, webhook, fail):
    person = operator()
    page = webhook()
    license = new_license()
    html = person.get(page_of(license))
    assert "grant.created" in html
    assert page in html
    assert "to nobody" not in html


def test_keys_are_rotated_one_or_all(operator, new_license, client, owner):
    person, license = operator(), new_license()
    page = page_of(license)
    asked = person.send(f"{page}/rotate", {"hours": "0", "key_id": str(license.key_id)}, page)
    data = multi(fields_of(asked.get_data(as_text=True)))
    made, again = (person.client.post(f"{page}/rotate", data=data, headers=BROWSER) for _ in range(2))
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    assert again.status_code == 409
    assert client.get("/api/v1/license", headers=license.headers).status_code == 403
    assert client.get("/api/v1/license", headers={"x-api-key": key}).status_code == 200
    html = person.act(f"{page}/rotate", {"hours": "24"}, page).get_data(as_text=True)
    assert "obol_" in html
    assert client.get("/api/v1/license", headers={"x-api-key": key}).status_code == 200
    assert len(limits.list_keys(owner, license.id)) == 3
    assert person.send(f"{page}/rotate", {"hours": "24", "key_id": "x"}, page).status_code == 422
    assert person.send(f"{page}/rotate", {"hours": "24", "key_id": str(uuid4())}, page).status_code == 404


def test_an_operator_lets_a_holder_make_keys(operator, new_license, owner):
    person, license = operator(), new_license()
    page = page_of(license)
    assert person.act(f"{page}/own-keys", {"most": "3"}, page).headers["Location"] == f"{page}?done=own_keys"
    assert limits.set_own_keys(owner, license.id) == 3
    asked = person.send(f"{page}/own-keys", {"most": "0"}, page)
    assert "Let nobody make keys" in asked.get_data(as_text=True)


def test_limits_are_set_with_what_is_used_in_sight(operator, new_license, client):
    person, license = operator(), new_license()
    page = page_of(license)
    person.act(f"{page}/limits", {"credits_per_day": "500"}, page)
    client.post("/api/v1/deductions", json={"amount": 123}, headers=license.headers)
    assert "123 used now" in person.get(page)
    person.get(f"{page}/keys/{license.key_id}")


def test_the_overview_says_what_ends_soon(operator, new_license, owner):
    license = new_license()
    ends = datetime.now(UTC) + timedelta(days=2)
    person = operator()
    acts.grant_credits(owner, license.id, 777, terms=Terms(50, None, ends), reason="promotion")
    html = person.get("/console")
    assert "777" in html
    assert "of 1 license, in 7 days" in html


def test_health_shows_processes_and_the_last_checks(operator, db, new_license):
    person = operator()
    assert "Never checked" in person.get("/console/health")
    alive, ended = uuid4(), uuid4()
    processes.heartbeat(db, alive, 30)
    processes.heartbeat(db, ended, 0)
    person.send("/console/verify", {}, "/console/health")
    html = person.get("/console/health")
    assert "all of the ledger" in html
    assert "clean" in html
    assert str(alive)[:8] in html
    assert "good for" in html
    assert "Never checked" not in html


@pytest.mark.tampers
def test_health_shows_what_disagreed_also_where_it_is_of_no_license(operator, new_license, owner, sql):
    person = operator()
    new_license()
    sql("INSERT INTO obol.business_rollups VALUES ('2020-01-01', true, 5, 5, 0, 0, 0, 0, 0, 0)")
    html = person.send("/console/verify", {}, "/console/health").get_data(as_text=True)
    assert "the business by time is what its entries say" in html
    assert "1 row disagrees" in person.get("/console/health")
    assert [check.finding_count for check in ledger.list_verifications(owner)] == [1]


def test_keys_that_have_ended_are_not_counted_and_not_offered(operator, new_license, owner, sql):
    license, person = new_license(), operator()
    acts.create_key(owner, license.id, name="old")
    ended = "UPDATE obol.license_keys SET expires_at = now() - interval '1 second' WHERE name = 'old' RETURNING key_id"
    ((key_id,),) = sql(ended)
    page = page_of(license)

    asked = person.send(f"{page}/status", {}, page).get_data(as_text=True)
    assert re.search(r"Keys that are good</th>\s*<td[^>]*>\s*1\b", asked)
    asked = person.send(f"{page}/rotate", {"hours": "0"}, page).get_data(as_text=True)
    assert re.search(r"Keys that end</th>\s*<td[^>]*>\s*0\s*</td>\s*<td[^>]*>\s*(<[^>]*>)*1\b", asked)
    html = person.get(page)
    assert f'<option value="{key_id}">' not in html
    assert html.count("expired") == 1


def test_a_table_says_when_it_is_not_all(operator, new_license, owner, monkeypatch):
    license, person = new_license(credits=7), operator()
    assert "No more than" not in person.get(page_of(license))
    monkeypatch.setattr("service.pages.console.license._MOST", 1)
    assert person.get(page_of(license)).count("No more than 1 are shown") == 1


def test_who_may_grant_nothing_is_asked_for_no_opening_grant(operator, sql):
    assert "Opening grant" in operator("read", "manage", "grant").get("/console/licenses/new")
    person = operator("read", "manage")
    assert "Opening grant" not in person.get("/console/licenses/new")
    person.act("/console/licenses", {"name": "shop"}, "/console/licenses/new")
    assert sql("SELECT name, balance FROM obol.licenses") == [("shop", 0)]


@pytest.mark.parametrize("path", ["/console/nothing", "/console/verify", "/account/nothing/at/all"])
def test_where_nothing_is_there_is_a_page(client, path):
    response = client.get(path, headers=BROWSER)
    assert (response.status_code, response.mimetype) == (404, "text/html")
    assert "There is no such page." in response.get_data(as_text=True)


@pytest.mark.parametrize("face", ["console", "account"])
def test_a_slash_too_many_leads_to_the_beginning(client, face):
    assert client.get(f"/{face}/").headers["Location"] == f"/{face}"


def test_a_form_that_is_refused_leads_back_to_its_page(operator, new_license):
    license, person = new_license(), operator()
    page = page_of(license)
    for path, fields in ((f"{page}/keys", {"name": ""}), (f"{page}/rotate", {"hours": "x"})):
        refused = person.send(path, fields, page)
        assert refused.status_code == 422
        assert f'<a class="button" href="{page}">Back</a>' in refused.get_data(as_text=True)
    refused = person.send("/console/verify", {"csrf": "x"}, "/console/health")
    assert '<a class="button" href="/console">Back to the start</a>' in refused.get_data(as_text=True)


def test_what_was_typed_in_a_form_that_is_refused_is_there_to_be_mended(operator, new_license, sql):
    license, person = new_license(credits=10), operator()
    page = page_of(license)
    typed = {"amount": "ten", "priority": "50", "first_day": "", "last_day": "", "reason": '"><b>x', "reference": "a&b"}
    refused = person.send(f"{page}/grants", typed, page).get_data(as_text=True)

    assert f'<form class="fields" method="post" action="{page}/grants">' in refused
    assert '<input name="amount" type="text" value="ten" aria-invalid="true">' in refused
    assert '<input name="reason" type="text" value="&#34;&gt;&lt;b&gt;x">' in refused
    assert '<input name="reference" type="text" value="a&amp;b">' in refused
    assert "confirmed" not in refused

    # As a browser sends it again, mended.
    person.act(f"{page}/grants", typed | {"amount": "10"}, page)
    assert sql("SELECT balance FROM obol.licenses") == [(20,)]


def test_what_no_hand_has_typed_is_not_shown_to_be_mended(operator, new_license):
    license, person = new_license(), operator()
    page = page_of(license)
    refused = person.send(f"{page}/status", {"status": "lost"}, page)
    assert refused.status_code == 422
    assert "What you typed" not in refused.get_data(as_text=True)


def test_what_was_done_already_is_not_offered_to_be_done_again(operator, sql):
    """Each page that asks once more would make it another."""
    person = operator()
    asked = person.send("/console/licenses", {"name": "Ada", "credits": "50"}, "/console/licenses/new")
    data = multi(fields_of(asked.get_data(as_text=True)))
    for status in (200, 409):
        answer = person.client.post("/console/licenses", data=data, headers=BROWSER)
        assert (answer.status_code, "What you typed" in answer.get_data(as_text=True)) == (status, False)
    answer = person.client.post("/console/licenses", data=data | {"name": "Eve"}, headers=BROWSER)
    assert answer.status_code in (409, 422)
    assert "What you typed" not in answer.get_data(as_text=True)
    assert sql("SELECT name, balance FROM obol.licenses") == [("Ada", 50)]


def test_boxes_that_were_not_ticked_are_ticked_on_their_own_page(operator):
    person = operator()
    form = person.forms("/console/tokens")["/console/tokens"] | {"name": "x"}
    form.pop("scopes", None)
    refused = person.client.post("/console/tokens", data=form, headers=BROWSER)
    assert refused.status_code == 422
    assert "What you typed" not in refused.get_data(as_text=True)


def test_a_form_of_another_session_is_not_shown_again(operator, new_license):
    license, person = new_license(), operator()
    path = f"{page_of(license)}/grants"
    refused = person.send(path, {"csrf": "x", "amount": "7"}, page_of(license))
    assert (refused.status_code, "What you typed" in refused.get_data(as_text=True)) == (422, False)


def test_a_file_that_is_refused_is_there_to_be_mended(operator):
    person = operator()
    file = "[[price]]\npattern = 7\n"
    refused = person.send("/console/prices", {"file": file}, "/console/prices")
    assert refused.status_code == 422
    assert f'<textarea name="file" spellcheck="false">\n{file}</textarea>' in refused.get_data(as_text=True)


def test_the_ledger_is_checked_once_at_a_time(operator, client, new_token, monkeypatch):
    person, headers = operator(), {"Authorization": f"Bearer {new_token('read')}"}
    with acts._one_check:
        refused = person.send("/console/verify", {}, "/console/health")
        assert refused.status_code == 503
        assert "The ledger is being checked already." in refused.get_data(as_text=True)
        asked = client.post("/api/v1/admin/verify", headers=headers)
        assert (asked.status_code, asked.get_json()["code"]) == (503, "over_capacity")
    assert client.post("/api/v1/admin/verify", headers=headers).get_json()["clean"] is True
