"""What an operator does in the console is what the admin API does: looked at, asked once more, done once."""

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from ageing import age
from browsing import BROWSER, fields_of, multi, posts
from factories import current_day

from service import archive
from service.archivefile import Folder
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import holds, processes


def page_of(license):
    return f"/console/licenses/{license.id}"


def balance(sql, license):
    ((found,),) = sql("SELECT balance FROM obol.licenses WHERE license_id = %s", (str(license.id),))
    return found


def test_a_grant_says_in_numbers_what_will_happen_and_happens_once(operator, new_license, sql):
    person, license = operator(), new_license(name="Ada")
    page = page_of(license)
    asked = person.send(f"{page}/grants", {"amount": "2,500", "reference": "order 12", "last_day": "2999-01-31"}, page)
    html = asked.get_data(as_text=True)
    assert "Grant 2,500 credits to Ada?" in html
    assert "3,500" in html
    assert "2999-02-01 00:00" in html
    assert balance(sql, license) == 1000
    again = [person.client.post(f"{page}/grants", data=multi(fields_of(html)), headers=BROWSER) for _ in range(3)]
    assert {one.headers["Location"] for one in again} == {f"{page}?done=granted"}
    assert balance(sql, license) == 3500
    assert "The credits are granted." in person.get(f"{page}?done=granted")


def test_a_grant_that_begins_later_leaves_the_balance(operator, new_license):
    person, license = operator(), new_license()
    page = page_of(license)
    html = person.send(f"{page}/grants", {"amount": "5", "first_day": "2999-01-31"}, page).get_data(as_text=True)
    assert "2999-01-31 00:00" in html
    assert "1,005" not in html


def test_a_grant_is_voided_and_a_balance_corrected(operator, new_license, sql):
    person, license = operator(), new_license()
    page = page_of(license)
    person.act(f"{page}/adjustments", {"amount": "\u2212100", "reason": "counted twice"}, page)
    assert balance(sql, license) == 900
    (void,) = [path for path in person.forms(page) if path.endswith("/void")]
    assert person.act(void, {}, page).headers["Location"] == f"{page}?done=voided"
    assert balance(sql, license) == 0
    assert not [path for path in person.forms(page) if path.endswith("/void")]
    unknown = person.client.post(
        f"{page}/grants/{uuid4()}/void", data={"csrf": person.forms(page)["/console/logout"]["csrf"]}, headers=BROWSER
    )
    assert unknown.status_code == 404


def test_a_charge_is_given_back_in_parts_and_never_more(operator, new_license, client, sql):
    person, license = operator(), new_license()
    page = page_of(license)
    cause = client.post("/api/v1/deductions", json={"amount": 300}, headers=license.headers).get_json()["id"]
    receipt = f"{page}/receipts/{cause}"
    person.act(f"{page}/refunds", {"amount": "100", "reason": "late"}, receipt)
    assert balance(sql, license) == 800
    assert person.send(f"{page}/refunds", {"amount": "201", "reason": "late"}, receipt).status_code == 422
    person.act(f"{page}/refunds", {"reason": "late"}, receipt)
    assert balance(sql, license) == 1000
    assert f"{page}/refunds" not in person.forms(receipt)


@pytest.fixture
def charge(db):
    """`charge(license)`: a charge for an answer that nobody has noted as delivered."""

    def settle(license):
        process_id, hold_id = uuid4(), uuid4()
        processes.heartbeat(db, process_id, 30)
        holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id,
            amounts=holds.HoldAmounts(30, 30),
            model="a-model",
            price=dict.fromkeys(CLASSES, 1_000_000),
        )
        holds.settle(db, license.key, hold_id, amount=30, process_id=process_id, usage={"input": 30})

    return settle


def test_an_undelivered_answer_is_shown_and_given_back(operator, new_license, charge, sql):
    person, license = operator(), new_license()
    page = page_of(license)
    charge(license)
    assert balance(sql, license) == 970
    assert license.id.hex[:8] in person.get("/console")
    assert person.act(f"{page}/refunds", {}, page).headers["Location"] == f"{page}?done=refunded"
    assert balance(sql, license) == 1000


def test_many_undelivered_answers_are_not_all_on_the_overview(operator, new_license, charge):
    person, license = operator(), new_license()
    for _ in range(6):
        charge(license)
    html = person.get("/console?days=7")
    assert html.count("a-model") == 5
    assert "There are more" in html


def test_a_license_is_made_once_and_its_key_shown_once(operator, client, sql):
    person = operator()
    asked = person.send("/console/licenses", {"name": "Ada", "credits": "50"}, "/console/licenses/new")
    data = multi(fields_of(asked.get_data(as_text=True)))
    made, again = (person.client.post("/console/licenses", data=data, headers=BROWSER) for _ in range(2))
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    assert client.get("/api/v1/license", headers={"x-api-key": key}).get_json()["balance"] == 50
    assert (again.status_code, key in again.get_data(as_text=True)) == (409, False)
    assert sql("SELECT count(*) FROM obol.licenses") == [(1,)]


def test_licenses_are_found_by_words_status_and_page(operator, new_license, sql):
    person = operator()
    for n in range(51):
        new_license(name=f"shop {n:02}")
    first = person.get("/console/licenses")
    assert re.findall("shop ([0-9]{2})<", first) == [f"{n:02}" for n in range(50, 0, -1)]
    (following,) = re.findall('href="(/console/licenses[?][^"]*cursor=[^"]*)"', first)
    second = person.get(following.replace("&amp;", "&"))
    assert re.findall("shop ([0-9]{2})<", second) == ["00"]
    assert "First page" in second
    assert "shop 07" in person.get("/console/licenses?query=op+07")
    assert "No license fits" in person.get("/console/licenses?status=suspended")
    person.get("/console/licenses?status=none", 422)


def test_an_empty_service_says_so(operator):
    person = operator()
    assert "No licenses yet" in person.get("/console/licenses")
    assert "Owed to customers" in person.get("/console")


def test_a_license_is_suspended_resumed_renamed_and_renewed(operator, new_license, client):
    person, license = operator(), new_license(name="Ada")
    page = page_of(license)
    for status, code in (("suspended", 403), ("active", 200)):
        asked = person.send(f"{page}/status", {}, page)
        assert "Keys that are good" in asked.get_data(as_text=True)
        assert person.confirm(asked).headers["Location"].startswith(f"{page}?done=")
        deducted = client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
        assert (deducted.status_code, status) == (code, status)
    person.act(f"{page}/name", {"name": "Ada L."}, page)
    person.act(f"{page}/expiry", {"last_day": "2999-12-30"}, page)
    html = person.get(page)
    assert "Ada L." in html
    assert "2999-12-31 00:00" in html
    person.act(f"{page}/expiry", {}, page)
    assert "2999-12-31" not in person.get(page)


def test_keys_are_made_limited_and_revoked(operator, new_license, client):
    person, license = operator(), new_license()
    page = page_of(license)
    asked = person.send(f"{page}/keys", {"name": "CI", "credits_per_day": "100", "models": "claude-* x"}, page)
    data = multi(fields_of(asked.get_data(as_text=True)))
    made, again = (person.client.post(f"{page}/keys", data=data, headers=BROWSER) for _ in range(2))
    key = re.search("obol_[0-9a-zA-Z_]{70,}", made.get_data(as_text=True))[0]
    assert again.status_code == 409
    html = person.get(page)
    assert "models claude-* x" in html
    (revoke,) = [path for path in posts(html) if path.endswith("/revoke") and str(license.key_id) not in path]
    one = revoke.removesuffix("/revoke")
    person.act(f"{one}/limits", {"credits_per_day": "", "models": "", "requests_per_minute": "7"}, one)
    assert "7 requests a minute" in person.get(one)
    assert person.act(revoke, {}, page).headers["Location"] == f"{page}?done=revoked"
    assert client.get("/api/v1/license", headers={"x-api-key": key}).status_code == 403
    assert f"{one}/limits" not in person.forms(one)
    person.get(f"{page}/keys/{uuid4()}", 404)


def test_a_license_has_limits(operator, new_license):
    person, license = operator(), new_license()
    page = page_of(license)
    person.act(f"{page}/limits", {"concurrent_holds": "3"}, page)
    assert "3 calls at once" in operator("read").get(page)
    assert person.send(f"{page}/limits", {"models": " ".join("m" * 101)}, page).status_code == 422


PRICES = """[[price]]
model = "claude-new"
input = 3
output = 15
cache_write_5m = 3
cache_write_1h = 6
cache_read = 1

[[price.tier]]
above_input_tokens = 200000
input = 6
output = 30
cache_write_5m = 6
cache_write_1h = 12
cache_read = 2
"""


def test_a_file_of_prices_is_shown_as_a_difference_and_then_set(operator, sql):
    person = operator()
    asked = person.send("/console/prices", {"file": PRICES}, "/console/prices")
    assert "Set 1 price?" in asked.get_data(as_text=True)
    assert "claude-new" not in person.get("/console/prices")
    assert person.confirm(asked).headers["Location"] == "/console/prices?done=imported"
    html = person.get("/console/prices")
    assert "claude-new" in html
    assert "200,000" in html
    again = person.send("/console/prices", {"file": PRICES}, "/console/prices").get_data(as_text=True)
    assert "says all of it already" in again
    wrong = person.send("/console/prices", {"file": "price = 1"}, "/console/prices")
    assert (wrong.status_code, "must be tables" in wrong.get_data(as_text=True)) == (422, True)
    ended = person.send("/console/prices", {"file": 'not_sold = ["claude-new"]'}, "/console/prices")
    assert "not sold" in ended.get_data(as_text=True)


def test_tokens_are_made_and_revoked(operator, client):
    person = operator()
    made = person.act("/console/tokens", {"name": "shop", "scopes": ["read", "grant"]}, "/console/tokens")
    token = re.search("obol_admin_[0-9a-zA-Z]+", made.get_data(as_text=True))[0]
    headers = {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/admin/licenses", headers=headers).status_code == 200
    html = person.get("/console/tokens")
    (revoke,) = re.findall('action="([^"]*)">(?:(?!</form>).)*Revoke the token shop"', html, re.DOTALL)[-1:]
    assert person.act(revoke, {}, "/console/tokens").headers["Location"] == "/console/tokens?done=token_revoked"
    assert client.get("/api/v1/admin/licenses", headers=headers).status_code == 403
    assert person.send("/console/tokens", {"name": "none", "scopes": []}, "/console/tokens").status_code == 422
    csrf = person.forms("/console")["/console/logout"]["csrf"]
    unknown = person.client.post(f"/console/tokens/{uuid4()}/revoke", data={"csrf": csrf}, headers=BROWSER)
    assert unknown.status_code == 404


def test_many_tokens_and_acts_come_in_pages(operator, new_token):
    person = operator()
    for _ in range(55):
        new_token("read")
    html = person.get("/console/tokens")
    (following,) = re.findall('href="(/console/tokens[?]cursor=[^"]*)"', html)
    assert "test " in person.get(following)
    html = person.get("/console/audit")
    (older,) = re.findall('href="(/console/audit[?]cursor=[^"]*)"', html)
    assert "Newest" in person.get(older)
    person.get("/console/tokens?cursor=nonsense", 422)
    person.get("/console/audit?cursor=nonsense", 422)


def test_the_ledger_is_verified(operator, new_license):
    person = operator()
    new_license()
    response = person.send("/console/verify", {}, "/console/health")
    assert "Clean: every balance is what its ledger says." in response.get_data(as_text=True)


@pytest.mark.tampers
def test_what_disagrees_is_shown(operator, new_license, sql):
    person, license = operator(), new_license()
    sql("SET session_replication_role = replica; UPDATE obol.licenses SET balance = balance + 1")
    html = person.send("/console/verify", {}, "/console/health").get_data(as_text=True)
    assert "rows disagree" in html
    assert str(license.id)[:8] in html


def test_a_license_that_is_not_there_is_a_page_that_says_so(operator):
    html = operator().get(f"/console/licenses/{uuid4()}", 404)
    assert "license_not_found" in html


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"amount": "0"}, "from 1 to"),
        ({"amount": "-5"}, "from 1 to"),
        ({"amount": "1.5"}, "from 1 to"),
        ({"amount": ""}, "from 1 to"),
        ({"amount": "9" * 30}, "from 1 to"),
        ({"amount": "5", "last_day": "soon"}, "must be a day"),
        ({"amount": "5", "last_day": "9999-12-31"}, "has a next one"),
        ({"amount": "5", "priority": "101"}, "from 0 to 100"),
        ({"amount": "5", "reason": ""}, "1 to 200 characters"),
        ({"amount": "5", "reference": "\0"}, "without NUL"),
    ],
)
def test_a_wrong_field_is_named(operator, new_license, fields, said):
    person, license = operator(), new_license()
    response = person.send(f"{page_of(license)}/grants", fields, page_of(license))
    assert response.status_code == 422
    assert said in response.get_data(as_text=True)


def test_a_form_that_is_none_is_refused(operator, new_license):
    person, license = operator(), new_license()
    page = page_of(license)
    csrf = person.forms(page)["/console/logout"]["csrf"]

    def post(path, **how):
        return person.client.post(f"{page}/{path}", headers=BROWSER, **how).status_code

    assert post("grants", json={"csrf": csrf}) == 415
    kind = {"content_type": "application/x-www-form-urlencoded"}
    assert post("grants", data=b"a=%ff", **kind) == 400
    assert post("grants", data=b"a=1&" * 300, **kind) == 400
    assert post("grants", data=b"a=" + b"x" * 40_000, **kind) == 413
    assert post("adjustments", data={"csrf": csrf, "amount": "0", "reason": "x"}) == 422
    assert post("refunds", data={"csrf": csrf, "cause_id": "x", "reason": "x"}) == 422
    assert post("status", data={"csrf": csrf, "status": "gone"}) == 422
    confirmed = {"csrf": csrf, "amount": "5", "reason": "x", "confirmed": "1", "idempotency_key": "mine"}
    assert post("grants", data=confirmed) == 422
    person.get(f"{page}/statement?kind=%00", 422)


def test_who_is_logged_in_needs_no_form_to_log_in(operator):
    assert operator().client.get("/console/login", headers=BROWSER).headers["Location"] == "/console"


def test_trouble_with_the_database_is_a_page(operator, monkeypatch):
    person = operator()

    def trouble(*_, **__):
        raise Problem("over_capacity", "No database connection came free in time. Ask again.")

    monkeypatch.setattr("service.repository.prices.book", trouble)
    response = person.client.get("/console/prices", headers=BROWSER)
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
    monkeypatch.setattr("service.repository.admin.check", trouble)
    assert person.client.get("/console", headers=BROWSER).status_code == 503


def test_what_nobody_foresaw_is_a_page_that_tells_nothing(operator, monkeypatch):
    person = operator()
    monkeypatch.setattr("service.repository.prices.book", lambda _: 1 / 0)
    assert "division" not in person.get("/console/prices", 500)


def test_the_balance_is_charted_by_day_over_days_that_are_named(operator, client, new_license, sql):
    today, person, license = current_day(), operator("read"), new_license(credits=100)
    for _ in range(3):
        client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
    statement = """UPDATE obol.ledger_entries SET created_at = now() - %s * interval '1 day'
                    WHERE license_id = %s AND entry_no <= %s"""
    for days, entry_no in ((2, 3), (5, 2), (120, 1)):
        sql(statement, (days, str(license.id), entry_no))
    page = person.get(page_of(license))
    assert "at the end of each of the last 90 days, UTC" in page
    chart = page[page.index("Balance over time; the table") : page.index("Used by day")]
    expected = [
        (str(today - timedelta(n)), "100" if n > 5 else "99" if n > 2 else "98" if n else "97") for n in range(90)
    ]
    assert re.findall(r'data-at="\d+">([\d-]+)</th><td class="n" data-value="(\d+)"', chart) == [*reversed(expected)]


def test_a_license_without_an_entry_has_no_chart(operator, new_license):
    page = operator("read").get(page_of(new_license(credits=0)))
    assert "Grant credits to begin" in page
    assert "Balance over time; the table" not in page


def test_a_license_says_what_of_its_balance_is_in_the_archive(operator, client, new_license, owner, sql, tmp_path):
    license, person = new_license(credits=100), operator("read")
    age(sql, 80)
    archive.run(owner, Folder(str(tmp_path)), before=datetime.now(UTC))
    page = person.get(f"/console/licenses/{license.id}")
    assert "Older changes, up to " in page
    assert "Grant credits to begin" not in page
    assert page.count('data-value="100"') == 81
    client.post("/api/v1/deductions", json={"amount": 1}, headers=license.headers)
    page = person.get(f"/console/licenses/{license.id}")
    assert (page.count('data-value="100"'), page.count('data-value="99"')) == (80, 1)
    assert "Older changes, up to " in page
