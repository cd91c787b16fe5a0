"""What somebody with bad intentions may try on the console and the account."""

import base64
import json
import re
import time
from html import unescape
from types import SimpleNamespace
from urllib.parse import quote
from uuid import uuid4

import pytest
from browsing import BROWSER, Person, posts

from service import create_app
from service.config import load
from service.http.services import services_of
from service.pages import session
from service.pricing import CLASSES
from service.repository import holds, licenses, limits, prices, processes, webhooks
from service.repository.holds import HoldAmounts

HOSTILE = """"><script>alert(1)</script><img src=x onerror=alert(1)>'{{7*7}}"""


@pytest.fixture
def sealed(environ):
    """Before the service is made: it can seal the secrets of webhooks, and takes any address for one."""
    environ |= {"OBOL_WEBHOOK_KEYS": "W" * 42 + "A", "OBOL_WEBHOOK_ALLOW_PRIVATE": "1"}


def cookies(response):
    return {one.partition("=")[0]: one for one in response.headers.getlist("Set-Cookie")}


def value_of(client, name):
    return client.get_cookie(name).value


@pytest.mark.parametrize("path", ["/console", "/console/licenses", "/account", "/account/statement", "/console/health"])
def test_who_is_not_logged_in_is_asked_to(client, path):
    response = client.get(path, headers=BROWSER)
    face = path.split("/")[1]
    assert response.status_code == 303
    assert response.headers["Location"] == f"/{face}/login?next={path.replace('/', '%2F')}"
    assert response.data == b""


def test_a_part_of_a_page_that_htmx_asks_for_is_no_form_to_log_in(client):
    response = client.get("/console/licenses", headers={**BROWSER, "HX-Request": "true"})
    assert response.status_code == 200
    assert response.headers["HX-Redirect"] == "/console/login?next=%2Fconsole%2Flicenses"


@pytest.mark.parametrize("given", ["", "obol_admin_nonsense", "x" * 40, "obol_" + "a" * 32 + "_" + "b" * 38])
@pytest.mark.parametrize("face", ["console", "account"])
def test_what_is_no_secret_logs_nobody_in(app, face, given):
    person = Person(app.test_client(), face)
    response = person.log_in(given)
    assert response.status_code == 403
    assert "is not valid" in response.get_data(as_text=True)
    assert f"obol_{face}_session" not in cookies(response)


def test_a_token_that_may_not_look_logs_nobody_in(app, new_token):
    response = Person(app.test_client(), "console").log_in(new_token("grant"))
    assert response.status_code == 403
    assert "lacks the scope read" in response.get_data(as_text=True)


# Another's license, by any id.


def test_an_account_opens_no_receipt_of_another_license(client, customer, new_license):
    mine, other = new_license(), new_license()
    made = client.post("/api/v1/deductions", json={"amount": 7, "reference": "secret order"}, headers=other.headers)
    person = customer(mine)
    assert "secret order" not in person.get(f"/account/receipts/{made.get_json()['id']}", 404)
    assert "secret order" in customer(other).get(f"/account/receipts/{made.get_json()['id']}")


def test_an_account_names_no_license_in_any_address(app, customer, new_license):
    """Whose pages they are is in the sealed cookie alone: there is no id to put another one in."""
    rules = [str(rule) for rule in app.url_map.iter_rules() if str(rule).startswith("/account")]
    assert "/account/statement" in rules
    assert not [rule for rule in rules if "license" in rule]
    mine, other = new_license(name="mine"), new_license(name="other")
    person = customer(mine)
    for path in ("/account", "/account/statement", "/account/statement.csv"):
        assert person.get(path) == person.get(f"{path}?license_id={other.id}&key_id={other.key_id}")
    person.get(f"/account/{other.id}", 404)


def test_a_session_of_an_account_opens_no_page_of_the_console(customer, new_license):
    license = new_license()
    person = customer(license)
    person.client.set_cookie("obol_console_session", value_of(person.client, "obol_account_session"))
    person.get(f"/console/licenses/{license.id}", 303)


# Session fixation.


def test_a_session_begins_with_a_cookie_and_a_secret_that_nobody_knew(app, new_token):
    person, other = Person(app.test_client(), "console"), Person(app.test_client(), "console")
    other.log_in(new_token())
    planted = value_of(other.client, "obol_console_session")
    person.client.set_cookie("obol_console_guest", "planted")
    person.get("/console/login")
    guest = posts(person.get("/console/login"))["/console/login"]["csrf"]
    response = person.log_in(new_token())
    person_s = value_of(person.client, "obol_console_session")
    assert person_s != planted
    assert posts(person.get("/console"))["/console/logout"]["csrf"] != guest
    assert "Max-Age=0" in cookies(response)["obol_console_guest"]


@pytest.mark.parametrize(
    "value",
    ["", "nonsense", "AAAA", "é", base64.urlsafe_b64encode(json.dumps({"scopes": []}).encode()).decode(), "A" * 5000],
)
def test_a_cookie_that_was_made_up_is_none(client, value):
    response = client.get("/console", headers={**BROWSER, "Cookie": f"obol_console_session={value}"})
    assert response.status_code == 303


def test_a_cookie_that_was_changed_is_none(operator):
    person = operator()
    sealed = bytearray(base64.urlsafe_b64decode(value_of(person.client, "obol_console_session")))
    sealed[-20] ^= 1
    person.client.set_cookie("obol_console_session", base64.urlsafe_b64encode(sealed).decode())
    person.get("/console", 303)


def test_a_cookie_tells_nothing_of_what_is_in_it(app, new_token):
    token = new_token()
    person = Person(app.test_client(), "console")
    person.log_in(token)
    opened = base64.urlsafe_b64decode(value_of(person.client, "obol_console_session"))
    assert b"digest" not in opened
    assert token.encode() not in opened


def test_another_key_opens_no_session(operator, app, monkeypatch):
    person = operator()
    other = SimpleNamespace(session_key=b"o" * 32, public_url=None)
    monkeypatch.setattr(session, "services", lambda: other)
    person.get("/console", 303)


# CSRF.


@pytest.mark.parametrize("csrf", [None, "", "wrong", "é"])
def test_a_form_without_the_secret_of_its_session_does_nothing(operator, new_license, sql, csrf):
    person, license = operator(), new_license()
    path = f"/console/licenses/{license.id}/grants"
    data = {"amount": "5", "reason": "purchase", "confirmed": "1", "idempotency_key": f"console-{uuid4().hex}"}
    response = person.client.post(path, data=data if csrf is None else data | {"csrf": csrf}, headers=BROWSER)
    assert response.status_code == 422
    assert "not of this session" in response.get_data(as_text=True)
    assert sql("SELECT balance FROM obol.licenses") == [(1000,)]


def test_a_form_with_the_secret_of_another_session_does_nothing(operator, new_license):
    person, other, license = operator(), operator(), new_license()
    page = f"/console/licenses/{license.id}"
    fields = other.forms(page)[f"{page}/grants"] | {"amount": "5"}
    assert person.client.post(f"{page}/grants", data=fields, headers=BROWSER).status_code == 422


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
@pytest.mark.parametrize("path", ["/console/logout", "/console/verify"])
def test_a_form_that_another_site_sends_does_nothing(operator, path, site):
    person = operator()
    of = "/console/health"
    assert person.send(path, {}, of, **{"Sec-Fetch-Site": site}).status_code == 422
    assert person.send(path, {}, of).status_code in (200, 303)


def test_the_form_to_log_in_has_a_secret_too(client, new_token):
    response = client.post("/console/login", data={"token": new_token()}, headers=BROWSER)
    assert response.status_code == 422
    assert "obol_console_session" not in cookies(response)


@pytest.mark.parametrize("face", ["console", "account"])
def test_every_form_that_changes_something_has_the_secret(sealed, operator, customer, new_license, owner, face):
    license = new_license()
    limits.set_own_keys(owner, license.id, 1)
    person = operator() if face == "console" else customer(license)
    pages = {
        "console": ["/console", "/console/licenses/new", f"/console/licenses/{license.id}", "/console/prices",
                    "/console/tokens", "/console/health",
                    "/console/webhooks", f"/console/licenses/{license.id}/keys/{license.key_id}"],
        "account": ["/account", "/account/statement", "/account/keys"],
    }[face]  # fmt: skip
    secrets = {form["csrf"] for page in pages for form in person.forms(page).values()}
    assert len(secrets) == 1


# XSS.


def test_names_and_references_are_text_on_every_page(sealed, operator, client, owner, sql):
    person = operator(name=HOSTILE)
    # No URL has what opens a tag.
    url = "https://shop.example.com/?x='onload=alert(1)"
    person.act("/console/webhooks", {"name": HOSTILE, "url": url}, "/console/webhooks")
    ((webhook_id,),) = sql("SELECT webhook_id FROM obol.webhooks WHERE kind = 'http'")
    webhooks.note(owner, webhook_id, error=HOSTILE)
    prices.set_prices(owner, [(HOSTILE.replace("*", "x"), None, None)])
    made = person.act(
        "/console/licenses", {"name": HOSTILE, "external_id": HOSTILE, "credits": "100"}, "/console/licenses/new"
    )
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    ((license_id,),) = sql("SELECT license_id FROM obol.licenses")
    page = f"/console/licenses/{license_id}"
    person.act(f"{page}/grants", {"amount": "5", "reason": HOSTILE, "reference": HOSTILE}, page)
    person.act(f"{page}/adjustments", {"amount": "-5", "reason": HOSTILE}, page)
    person.act(f"{page}/keys", {"name": HOSTILE, "models": "<script>*"}, page)
    deduction = client.post(
        "/api/v1/deductions",
        json={"amount": 3, "reference": HOSTILE},
        headers={"Authorization": f"Bearer {key}"},
    ).get_json()["id"]
    person.act(f"{page}/refunds", {"amount": "1", "reason": HOSTILE}, f"{page}/receipts/{deduction}")
    person.act("/console/tokens", {"name": f"{HOSTILE}2", "scopes": "read"}, "/console/tokens")
    ((key_id,),) = sql("SELECT key_id FROM obol.license_keys WHERE name = %s", (HOSTILE,))
    guest = Person(person.client.application.test_client(), "account")
    guest.log_in(key)
    limits.set_own_keys(owner, license_id, 1)
    guest.act("/account/keys", {"name": HOSTILE, "models": "<script>*"}, "/account/keys")
    ((own_key_id,),) = sql("SELECT key_id FROM obol.license_keys WHERE made_by IS NOT NULL")
    seen = ""
    for who, paths in (
        (person, ["/console", "/console/licenses", page, f"{page}/statement", f"{page}/receipts/{deduction}",
                  f"{page}/keys/{key_id}", "/console/tokens", "/console/audit", "/console/prices",
                  "/console/webhooks", f"/console/webhooks/{webhook_id}"]),
        (guest, ["/account", "/account/statement", f"/account/receipts/{deduction}", "/account/prices",
                 "/account/keys", f"/account/keys/{own_key_id}"]),
    ):  # fmt: skip
        for path in paths:
            html = who.get(path)
            assert "<script>alert" not in html, path
            assert "<img src=x" not in html, path
            assert "49" not in re.findall(r"onerror=alert\(1\)&gt;&#39;(..)", html)
            seen += html
    assert seen.count("&lt;script&gt;alert(1)") > 10


def test_names_of_models_are_text_on_every_page(operator, customer, owner, new_license):
    license, process_id, hold_id = new_license(credits=1000), uuid4(), uuid4()
    # A star may only end what a price is of.
    model = HOSTILE.replace("*", "x")
    prices.set_prices(owner, [(model, None, dict.fromkeys(CLASSES, 1_000_000))])
    processes.heartbeat(owner, process_id, 60)
    for id in (hold_id, uuid4()):
        holds.open_for_process(
            owner, license.key, id, process_id=process_id, amounts=HoldAmounts(20, 20), model=model,
            price=dict.fromkeys(CLASSES, 1_000_000),
        )  # fmt: skip
    holds.settle(owner, license.key, hold_id, amount=7, process_id=process_id, usage={"output": 7})
    licenses.set_license(owner, license.id, limits={"models": [model]})
    page = f"/console/licenses/{license.id}"
    filtered = f"statement?model={quote(model)}"
    for person, paths in (
        (operator(), ["/console/prices", page, f"{page}/statement", f"{page}/{filtered}",
                      f"{page}/receipts/{hold_id}"]),
        (customer(license), ["/account", "/account/prices", "/account/statement", f"/account/{filtered}",
                             f"/account/receipts/{hold_id}"]),
    ):  # fmt: skip
        for path in paths:
            html = person.get(path)
            assert "&lt;script&gt;alert(1)" in html, path
            assert "<script>alert" not in html, path
            assert "<img src=x" not in html, path
    dry = operator().send("/console/prices", {"file": "not_sold = " + json.dumps([f"{model}*"])}, "/console/prices")
    assert "&lt;script&gt;alert(1)" in dry.get_data(as_text=True)
    assert "<script>alert" not in dry.get_data(as_text=True)


# What each page reads of its address; a page that reads more belongs here.
READ = {
    "/console": ("days", "done", "cursor"),
    "/console/licenses": ("query", "status", "cursor"),
    "/console/payments": ("owed", "cursor"),
    "/console/audit": ("cursor",),
    "/console/login": ("next", "done", "ended", "again"),
    "/console/licenses/{}/statement": ("kind", "model", "from", "to", "cursor"),
    "/console/licenses/{}/statement.csv": ("kind", "model", "from", "to"),
    "/account": ("days", "done"),
    "/account/statement": ("kind", "model", "from", "to", "cursor"),
    "/account/statement.csv": ("kind", "model", "from", "to"),
    "/account/top-up": ("cursor",),
    "/account/login": ("next", "done", "ended", "again"),
}
CASES = [(path, name) for path, names in READ.items() for name in names]


@pytest.mark.parametrize("is_logged_in", [True, False])
@pytest.mark.parametrize(("path", "name"), CASES)
def test_what_stands_in_an_address_is_text(operator, customer, new_license, app, path, name, is_logged_in):
    license = new_license()
    person = operator() if path.startswith("/console") else customer(license)
    client = person.client if is_logged_in else app.test_client()
    response = client.get(f"{path.format(license.id)}?{name}={quote(HOSTILE)}", headers=BROWSER)
    # Nothing is sold here, so there is no page of payments; and no model of that name.
    assert response.status_code in (200, 303, 404, 422)
    said = response.get_data(as_text=True) + str(response.headers)
    assert "<script>alert" not in said
    assert "<img src=x" not in said
    assert "onerror=alert(1)>" not in said


def test_no_page_runs_what_stands_in_it(operator):
    person = operator()
    response = person.client.get("/console", headers=BROWSER)
    policy = response.headers["Content-Security-Policy"]
    assert policy == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    html = response.get_data(as_text=True)
    assert not re.search("<script(?! src=)|<style|style=|javascript:| on[a-z]+=", html)
    assert not re.search('(href|src|action)="(https?:)?//', html)


# Clickjacking.


@pytest.mark.parametrize(
    "path",
    [
        "/console",
        "/console/licenses",
        "/console/webhooks",
        "/console/health",
        "/console/licenses/none",
        "/account/login",
    ],
)
def test_no_page_can_be_framed(operator, path):
    headers = operator().client.get(path, headers=BROWSER).headers
    if headers["Content-Type"].startswith("text/html"):
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Frame-Options"] == "DENY"
    else:
        assert (path, headers["Content-Type"]) == ("/console/licenses/none", "application/problem+json")


def test_no_page_of_an_account_can_be_framed(customer, new_license):
    headers = customer(new_license()).client.get("/account", headers=BROWSER).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Frame-Options"] == "DENY"


# Open redirects.


@pytest.mark.parametrize(
    "wanted",
    ["https://evil.example", "//evil.example", "/\\evil.example", "/console/../evil", "/account",
     "/console//evil.example", "/consolex", "javascript:alert(1)", "/console?x=//evil", "/console\r\nX: y", "\t//evil"],
)  # fmt: skip
def test_logging_in_leads_nowhere_else(app, new_token, wanted):
    response = Person(app.test_client(), "console").log_in(new_token(), next=wanted)
    assert (response.status_code, response.headers["Location"]) == (303, "/console")


def test_logging_in_leads_to_what_was_asked_for(app, new_token):
    response = Person(app.test_client(), "console").log_in(new_token(), next="/console/licenses/new")
    assert response.headers["Location"] == "/console/licenses/new"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_link_from_elsewhere_leads_on_from_a_page_of_ours(client, operator, site):
    """With which a browser brings the session that it has; whoever has none comes from here then, and logs in."""
    path = "/console/licenses/new"
    link = {**BROWSER, "Sec-Fetch-Site": site}
    response = client.get(f"{path}?x=//evil.example", headers=link)
    assert response.status_code == 200
    assert f'<meta http-equiv="refresh" content="0; url={path}?led=1">' in response.get_data(as_text=True)
    assert cookies(response) == {}
    # Once, whatever the browser says then.
    for came_from in (site, "same-origin"):
        login = client.get(f"{path}?led=1", headers={**BROWSER, "Sec-Fetch-Site": came_from})
        assert login.headers["Location"] == "/console/login?next=%2Fconsole%2Flicenses%2Fnew"
    # Whoever is logged in, or asks for no page, is not led around.
    assert operator().client.get(path, headers=link).status_code == 200
    assert 'http-equiv="refresh"' not in operator().client.get(path, headers=link).get_data(as_text=True)
    assert client.post("/console/licenses", headers=link).headers["Location"] == "/console/login"
    assert client.get("/console/licenses/a%20b", headers=link).status_code != 200


# Flags of cookies.


@pytest.mark.parametrize("face", ["console", "account"])
def test_cookies_are_for_this_host_and_no_script(app, new_token, new_license, face):
    person = Person(app.test_client(), face)
    response = person.log_in(new_token() if face == "console" else new_license().raw_key)
    said = cookies(response)[f"obol_{face}_session"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={8 * 3600}"} <= set(said.split("; "))
    assert "Secure" not in said
    assert "Domain" not in said


def test_over_tls_cookies_stay_there(app, new_token):
    client = app.test_client()
    html = client.get("/console/login", base_url="https://localhost", headers=BROWSER).get_data(as_text=True)
    form = posts(html)["/console/login"] | {"token": new_token()}
    response = client.post("/console/login", data=form, base_url="https://localhost", headers=BROWSER)
    said = cookies(response)["__Host-obol_console_session"].split("; ")
    assert {"Secure", "HttpOnly", "SameSite=Strict", "Path=/"} <= set(said)
    assert client.get("/console", base_url="https://localhost", headers=BROWSER).status_code == 200


@pytest.fixture
def public(environ):
    """Before the service is made: it knows its address."""
    environ["OBOL_PUBLIC_URL"] = "https://credits.example.com"


def test_behind_a_proxy_that_ends_tls_elsewhere_the_operator_says_so(public, client):
    said = cookies(client.get("/console/login", headers=BROWSER))["__Host-obol_console_guest"]
    assert "Secure" in said.split("; ")


# Scopes.


def test_a_token_that_may_look_sees_no_form_and_its_posts_are_refused(sealed, operator, new_license, owner, sql):
    license, all_of_it, reader, webhook_id = new_license(), operator(), operator("read"), uuid4()
    webhooks.create(owner, webhook_id, url="https://shop.example.com", name="shop", types=None, secret=b"sealed")
    page = f"/console/licenses/{license.id}"
    pages = [page, "/console/licenses", "/console/prices", f"{page}/keys/{license.key_id}", "/console",
             "/console/webhooks", f"/console/webhooks/{webhook_id}"]  # fmt: skip
    assert {path for one in pages for path in reader.forms(one)} == {"/console/logout"}
    html = reader.get("/console")
    assert 'href="/console/tokens"' not in html
    assert "New license" not in reader.get("/console/licenses")
    forms = {
        path: form
        for one in [*pages, "/console/licenses/new", "/console/tokens"]
        for path, form in all_of_it.forms(one).items()
    }
    del forms["/console/logout"]
    csrf = reader.forms("/console")["/console/logout"]["csrf"]
    before = sql("SELECT count(*) FROM obol.admin_acts")
    assert len(forms) >= 18
    for path, form in forms.items():
        sent = form | {"csrf": csrf, "confirmed": "1", "idempotency_key": f"console-{uuid4().hex}"}
        response = reader.client.post(path, data=sent, headers=BROWSER)
        assert response.status_code == 403, path
        assert "lacks the scope" in response.get_data(as_text=True)
    for path in ("/console/licenses/new", "/console/tokens"):
        reader.get(path, 403)
    assert sql("SELECT count(*) FROM obol.admin_acts") == before


@pytest.mark.parametrize(
    ("scope", "forms"),
    [
        ("grant", {"grants", "adjustments", "void"}),
        ("manage", {"keys", "limits", "expiry", "name", "status", "revoke", "rotate", "own-keys", "alerts"}),
    ],
)
def test_a_scope_shows_its_own_forms(operator, new_license, scope, forms):
    license = new_license()
    page = f"/console/licenses/{license.id}"
    shown = {path.rsplit("/", 1)[1] for path in operator("read", scope).forms(page)}
    assert shown == forms | {"logout"}


# Ends of a session.


@pytest.mark.parametrize("face", ["console", "account"])
def test_logging_out_ends_it(operator, customer, new_license, face):
    person = operator() if face == "console" else customer(new_license())
    response = person.send(f"/{face}/logout", {}, f"/{face}")
    assert response.headers["Location"] == f"/{face}/login?done=logged_out"
    assert "Max-Age=0" in cookies(response)[f"obol_{face}_session"]
    person.get(f"/{face}", 303)
    assert "You are logged out" in person.get(f"/{face}/login?done=logged_out")


@pytest.mark.parametrize("face", ["console", "account"])
def test_a_session_ends_after_eight_hours(operator, customer, new_license, monkeypatch, face):
    person = operator() if face == "console" else customer(new_license())
    kept = value_of(person.client, f"obol_{face}_session")
    now = time.time()
    for hours, status in ((7.99, 200), (8.01, 303)):
        monkeypatch.setattr(session, "time", SimpleNamespace(time=lambda at=now + hours * 3600: at))
        person.client.set_cookie(f"obol_{face}_session", kept)
        person.get(f"/{face}", status)


def test_a_token_that_is_revoked_ends_its_sessions(operator, sql):
    person = operator()
    sql("UPDATE obol.admin_tokens SET revoked_at = now()")
    response = person.client.get("/console/prices", headers=BROWSER)
    assert response.headers["Location"] == "/console/login?next=%2Fconsole%2Fprices&ended=1"
    assert "Max-Age=0" in cookies(response)["obol_console_session"]
    assert "no longer good" in person.get("/console/login?ended=1")


def test_a_key_that_is_revoked_ends_its_sessions(customer, new_license, owner):
    license = new_license()
    person = customer(license)
    limits.revoke_key(owner, license.id, license.key_id)
    response = person.client.get("/account/statement", headers=BROWSER)
    assert response.headers["Location"] == "/account/login?next=%2Faccount%2Fstatement&ended=1"


@pytest.mark.parametrize("is_revoked", [True, False])
def test_what_was_typed_is_shown_when_the_session_has_ended(operator, sql, is_revoked):
    person = operator()
    form = person.forms("/console/prices")["/console/prices"] | {"file": f"{HOSTILE}\n[[price]]", "token": "s3"}
    if is_revoked:
        sql("UPDATE obol.admin_tokens SET revoked_at = now()")
    else:
        person.client.delete_cookie("obol_console_session")
    response = person.client.post("/console/prices", data=form, headers=BROWSER)
    html = response.get_data(as_text=True)
    assert response.status_code == 403
    assert "<script>alert" not in html
    assert f"\n{form['file']}</textarea>" in unescape(html)
    assert 'href="/console/login?next=%2Fconsole%2Fprices"' in html
    assert "s3" not in html
    assert form["csrf"] not in html
    assert posts(html) == {}
    assert ("Max-Age=0" in cookies(response).get("obol_console_session", "")) is is_revoked


def test_what_was_typed_in_an_account_is_shown_when_its_key_was_revoked(customer, new_license, owner):
    license = new_license()
    limits.set_own_keys(owner, license.id, 1)
    person = customer(license)
    form = person.forms("/account/keys")["/account/keys"] | {"name": "My laptop"}
    limits.revoke_key(owner, license.id, license.key_id)
    response = person.client.post("/account/keys", data=form, headers=BROWSER)
    assert response.status_code == 403
    assert 'value="My laptop" readonly' in response.get_data(as_text=True)


@pytest.mark.parametrize(
    ("data", "headers"),
    [
        ({"file": "typed elsewhere"}, {"Sec-Fetch-Site": "cross-site"}),
        ({"file": "typed elsewhere"}, {"HX-Request": "true"}),
        ({"file": ""}, {}),
        ({"key_id": "no one types it"}, {}),
        ({"package_id": "pack", "idempotency_key": f"console-{'0' * 32}"}, {}),
        ({f"n{n}": "many" for n in range(201)}, {}),
    ],
)
def test_where_nothing_was_typed_here_an_ended_session_leads_to_the_log_in(client, data, headers):
    response = client.post("/console/prices", data=data, headers=BROWSER | headers)
    assert response.headers.get("Location", response.headers.get("HX-Redirect")) == "/console/login"


def test_nobody_can_log_in_where_there_is_no_key(app, environ):
    del environ["OBOL_SESSION_KEY"]
    off = create_app(load(environ))
    for path in ("/console", "/console/login", "/account/login"):
        response = off.test_client().get(path, headers=BROWSER)
        assert response.status_code == 404
        assert "OBOL_SESSION_KEY" in response.get_data(as_text=True)
    services_of(off).lease.stop()
