"""What whoever holds a license key sees of it."""

import re
from datetime import UTC, datetime

from ageing import age
from browsing import BROWSER, Person

from service import archive, keys
from service.archivefile import Folder
from service.problems import Problem
from service.repository import licenses


def test_an_account_shows_what_there_is_and_where_it_went(customer, new_license, ask):
    license = new_license(name="Ada", credits=5000)
    assert ask(license).status_code == 200
    person = customer(license)
    html = person.get("/account?days=7")
    assert "Ada" in html
    assert "claude-sonnet-5-5" in html
    assert str(license.key_id)[:8] in html
    (receipt,) = re.findall('href="(/account/receipts/[^"]*)"', person.get("/account/statement"))
    shown = person.get(receipt)
    assert "How it is made up" in shown
    assert "/refunds" not in shown
    assert "in force" in person.get("/account/prices")


def test_a_license_without_anything_says_so(customer, new_license):
    html = customer(new_license(credits=0)).get("/account")
    assert "Nothing used yet" in html
    assert "No credits" in html


def test_a_statement_is_filtered_paged_and_downloaded(customer, client, new_license):
    license, path = new_license(credits=10_000), "/api/v1/deductions"
    for n in range(52):
        client.post(path, json={"amount": 1, "reference": f"=invoice {n}"}, headers=license.headers, buffered=True)
    person = customer(license)
    html = person.get("/account/statement?kind=deduction")
    assert html.count("=invoice") == 50
    (older,) = re.findall('href="(/account/statement[?][^"]*cursor=[^"]*)"', html)
    assert "Newest" in person.get(older.replace("&amp;", "&"))
    assert "Nothing here" in person.get("/account/statement?from=2020-01-01&to=2020-01-02&model=m")
    person.get("/account/statement?from=2020-01-03&to=2020-01-01", 422)
    response = person.client.get("/account/statement.csv?kind=deduction", headers=BROWSER)
    assert response.headers["Content-Disposition"] == f'attachment; filename="statement-{license.id}.csv"'
    api = client.get("/api/v1/license/entries?kind=deduction", headers=license.headers | {"Accept": "text/csv"})
    assert response.data == api.data
    assert response.data.count(b"'=invoice") == 52


def test_a_statement_says_what_is_in_the_archive(customer, client, new_license, owner, sql, tmp_path):
    license = new_license(credits=100)
    age(sql, 80)
    archive.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC))
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
    person = customer(license)

    assert "Older entries, up to number 1 and" in person.get("/account/statement")


def test_the_operator_has_the_same_statement(operator, client, new_license):
    license, person = new_license(), operator("read")
    api = client.get("/api/v1/license/entries", headers=license.headers | {"Accept": "text/csv"})
    assert person.client.get(f"/console/licenses/{license.id}/statement.csv", headers=BROWSER).data == api.data
    assert "1,000" in person.get(f"/console/licenses/{license.id}/statement")


def test_a_suspended_license_may_look(customer, new_license, owner):
    license = new_license()
    licenses.set_status(owner, license.id, "suspended")
    assert "suspended" in customer(license).get("/account")


def test_who_is_logged_in_needs_no_form_to_log_in(customer, new_license):
    response = customer(new_license()).client.get("/account/login", headers=BROWSER)
    assert response.headers["Location"] == "/account"


def test_a_key_that_was_never_made_logs_nobody_in(app, new_license):
    made_up = keys.make(new_license().id).license_key
    assert Person(app.test_client(), "account").log_in(made_up).status_code == 403


def test_trouble_with_the_database_is_no_wrong_key(app, new_license, new_token, monkeypatch):
    def trouble(*_, **__):
        raise Problem("over_capacity", "No database connection came free in time. Ask again.")

    license, token = new_license(), new_token()
    monkeypatch.setattr("service.repository.licenses.find", trouble)
    assert Person(app.test_client(), "account").log_in(license.raw_key).status_code == 503
    monkeypatch.setattr("service.repository.admin.check", trouble)
    assert Person(app.test_client(), "console").log_in(token).status_code == 503


def test_a_token_whose_scopes_cannot_be_told_logs_nobody_in(app, new_token, monkeypatch):
    def half(_, __, scope):
        if scope == "grant":
            raise Problem("over_capacity", "No database connection came free in time. Ask again.")
        return "token:half"

    token = new_token()
    monkeypatch.setattr("service.repository.admin.check", half)
    response = Person(app.test_client(), "console").log_in(token)
    assert (response.status_code, response.headers.get("Location")) == (503, None)


def test_files_of_a_page_are_kept_for_good_under_their_content(client):
    html = client.get("/account/login", headers=BROWSER).get_data(as_text=True)
    for path in re.findall('"(/static/[^"]*)"', html):
        response = client.get(path)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert len(response.data) < 192 * 1024
        assert client.get(re.sub("/static/[0-9a-f]+/", "/static/0/", path)).status_code == 404
