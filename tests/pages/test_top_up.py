"""Top-up by card in the account, and what the console has of it; a browser pays in test_selling.py."""

import re

import pytest
from browsing import BROWSER, Person, posts
from fake_stripe import API_KEY, SECRET, FakeStripe, sign

from service import create_app
from service.config import load
from service.http.services import services_of
from service.repository import licenses
from service.repository import payments as repository

PACK = {
    "package_id": "pack",
    "name": "Pack",
    "price": "10.00",
    "currency": "EUR",
    "credits": "50,000",
    "lifetime_days": "30",
}


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
        "OBOL_PUBLIC_URL": "https://credits.example",
    }


@pytest.fixture
def sold(owner):
    repository.set_package(owner, "pack", name="Pack", price=1000, currency="eur", credits=50_000, lifetime_days=30)
    repository.set_package(owner, "yen", name="Good", price=500, currency="jpy", credits=70)
    repository.set_package(owner, "gone", name="Gone", price=1, currency="eur", credits=1)
    repository.end_package(owner, "gone")


@pytest.fixture
def begin():
    """`begin(person, "pack")`: the response to the button of a package."""

    def press(person, package_id, html=None):
        html = html or person.get("/account/top-up")
        buttons = re.findall(
            r'name="csrf" value="([^"]*)">\s*<input type="hidden" name="package_id" value="([^"]*)">'
            r'<input type="hidden" name="idempotency_key" value="([^"]*)"',
            html,
        )
        ((csrf, _, key),) = [found for found in buttons if found[1] == package_id]
        fields = {"csrf": csrf, "package_id": package_id, "idempotency_key": key}
        return person.client.post("/account/top-up", data=fields, headers=BROWSER)

    return press


@pytest.fixture
def hook(client):
    def send(event):
        response = client.post(
            "/webhooks/stripe", data=event, content_type="application/json", headers={"Stripe-Signature": sign(event)}
        )
        assert response.status_code == 200, response.data

    return send


# The account.


@pytest.mark.usefixtures("sold")
def test_a_button_leads_to_stripe_and_twice_to_the_same_page(customer, new_license, begin, stripe):
    person = customer(new_license(credits=70))
    assert 'href="/account/top-up"' in person.get("/account")
    html = person.get("/account/top-up")
    assert re.search(r"50,000.*30 days.*10\.00 EUR", html)
    assert re.search(r"70.*for good.*500 JPY", html)
    assert "Gone" not in html
    # As a checkout of the tests has another host than this service's Stripe: by a link, and not by the form.
    first, second = begin(person, "pack", html), begin(person, "pack", html)
    assert (first.status_code, first.headers["Location"]) == (303, second.headers["Location"])
    ((_, _, said, key),) = stripe.requests
    assert first.headers["Location"] == f"/account/top-up/{key}"
    page = person.get(first.headers["Location"])
    assert "Stripe has not said yet" in page
    assert 'hx-trigger="every 3s"' in page
    asked = person.client.get(first.headers["Location"], headers=BROWSER | {"HX-Request": "true"})
    assert (asked.status_code, asked.data) == (204, b"")
    assert 'href="https://checkout.stripe.com/c/pay/' in page
    assert said["success_url"] == f"https://credits.example/account/top-up/{key}/back"
    assert "Pack" in person.get("/account/top-up")


@pytest.mark.usefixtures("sold")
def test_the_form_is_followed_to_stripe_and_may_be_nowhere_else(customer, new_license, begin, stripe):
    """Browsers look at form-action when a form is redirected, too."""
    stripe.has_page = True
    person = customer(new_license())
    location = begin(person, "pack").headers["Location"]
    assert location.startswith(f"{stripe.url}/c/pay/")
    policy = person.client.get("/account/top-up", headers=BROWSER).headers["Content-Security-Policy"]
    assert f"form-action 'self' {stripe.url};" in policy
    for path in ("/account", "/account/statement"):
        assert "form-action 'self';" in person.client.get(path, headers=BROWSER).headers["Content-Security-Policy"]


@pytest.mark.usefixtures("sold")
def test_a_payment_says_what_became_of_it(customer, new_license, begin, stripe, hook, client, sql):
    license = new_license(credits=0)
    person = customer(license)
    page = begin(person, "pack").headers["Location"]
    (session_id,) = stripe.sessions
    hook(stripe.completed(session_id))
    html = person.get(page, **{"HX-Request": "true"})
    assert "50,000 credits were given for it" in html
    assert "hx-trigger" not in html
    assert "checkout.stripe.com" not in html
    client.post("/api/v1/deductions", json={"amount": 100}, headers=license.headers, buffered=True)
    hook(stripe.refunded(session_id, 1000))
    html = person.get(page)
    assert re.search(r"Paid back or disputed.*10\.00 EUR", html)
    assert re.search("Owed.*100", html)
    other = begin(person, "yen").headers["Location"]
    hook(stripe.completed(list(stripe.sessions)[1], amount_total=1))
    assert "is not what it was begun with" in person.get(other)
    late = begin(person, "yen").headers["Location"]
    sql("UPDATE obol.payments SET expires_at = now() WHERE payment_id = %s", (late.rpartition("/")[2],))
    assert "can be paid no longer" in person.get(late)


@pytest.mark.usefixtures("sold")
def test_a_payment_was_begun_at_a_time_in_utc(customer, new_license, begin, sql, urls):
    sql(f"ALTER DATABASE {urls.owner.rpartition('/')[2]} SET timezone = 'Asia/Tokyo'")
    person = customer(new_license())
    page = begin(person, "pack").headers["Location"]
    sql("UPDATE obol.payments SET created_at = '2026-12-31 20:30+00'")
    assert "begun 2026-12-31 20:30 UTC" in person.get(page)


@pytest.mark.usefixtures("sold")
def test_a_payment_of_somebody_else_is_none(customer, new_license, begin):
    page = begin(customer(new_license()), "pack").headers["Location"]
    other = customer(new_license())
    other.get(page, 404)
    assert "Pack</td>" not in other.get("/account/top-up")


@pytest.mark.usefixtures("sold")
def test_payments_are_read_in_pages(customer, new_license, begin, sql):
    person = customer(new_license())
    made = []
    for _ in range(21):
        made.append(begin(person, "pack").headers["Location"])
        sql("UPDATE obol.payments SET expires_at = now()")
    html = person.get("/account/top-up")
    assert made[0] not in html
    (older,) = re.findall('href="(/account/top-up[?]cursor=[^"]*)"', html)
    assert made[0] in person.get(older)


def test_who_comes_back_from_stripe_brings_no_session_and_finds_the_page(client, customer, new_license):
    """A browser sends no cookie that is SameSite=Strict along from another site; from a page of ours it does."""
    payment = "/account/top-up/0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd"
    for back, target in ((f"{payment}/back", payment), ("/account/top-up/back", "/account/top-up")):
        html = client.get(back, headers=BROWSER).get_data(as_text=True)
        assert f'<meta http-equiv="refresh" content="0; url={target}">' in html
        assert f'href="{target}"' in html
        response = customer(new_license()).client.get(back, headers=BROWSER)
        assert (response.status_code, response.headers["Location"]) == (303, target)
    assert (
        client.get(payment, headers=BROWSER).headers["Location"].startswith("/account/login?next=%2Faccount%2Ftop-up")
    )


def test_nothing_is_sold_where_there_is_no_package_or_license(customer, new_license, owner):
    license = new_license()
    person = customer(license)
    assert "Nothing is sold at the moment" in person.get("/account/top-up")
    repository.set_package(owner, "pack", name="Pack", price=1000, currency="eur", credits=5)
    licenses.set_status(owner, license.id, "suspended")
    assert "/account/top-up" not in person.forms("/account/top-up")


@pytest.mark.usefixtures("sold")
@pytest.mark.parametrize(
    "fields", [{"package_id": ""}, {"package_id": "gone"}, {"idempotency_key": "x"}, {"csrf": "x"}]
)
def test_a_form_that_is_wrong_begins_nothing(customer, new_license, stripe, fields):
    person = customer(new_license())
    form = person.forms("/account/top-up")["/account/top-up"]
    refused = person.client.post("/account/top-up", data=form | fields, headers=BROWSER)
    assert refused.status_code in (404, 422)
    assert "What you typed" not in refused.get_data(as_text=True)
    assert stripe.requests == []


def test_without_stripe_there_is_nothing_of_it(environ, new_license, new_token):
    del environ["OBOL_STRIPE_SECRET_KEY"]
    off = create_app(load(environ))
    person, grace = Person(off.test_client(), "account"), Person(off.test_client(), "console")
    license = new_license(credits=0)
    person.log_in(license.raw_key)
    grace.log_in(new_token())
    assert "top-up" not in person.get("/account")
    for path in ("packages", "payments"):
        assert path not in grace.get("/console")
        grace.get(f"/console/{path}", 404)
    for path in ("/account/top-up", "/account/top-up/0b8ba42c-9d0c-4ac4-8a80-4d13a1f2e7dd"):
        assert "Nothing is sold by card here" in person.get(path, 404)
    services_of(off).lease.stop()


@pytest.mark.usefixtures("sold")
def test_what_was_paid_is_shown_after_stripe_is_gone(environ, customer, new_license, new_token, begin):
    license = new_license()
    page = begin(customer(license), "pack").headers["Location"]
    del environ["OBOL_STRIPE_SECRET_KEY"]
    off = create_app(load(environ))
    person, grace = Person(off.test_client(), "account"), Person(off.test_client(), "console")
    person.log_in(license.raw_key)
    grace.log_in(new_token())
    for html in (person.get("/account/top-up"), grace.get("/console/payments"), person.get(page)):
        assert "Pack" in html
        assert posts(html).keys() <= {"/account/logout", "/console/logout"}
        assert "Go on to pay" not in html
    assert "Nothing is owed" in grace.get("/console/payments?owed=1")
    services_of(off).lease.stop()


# The console.


def test_a_package_is_made_changed_and_ended_in_numbers(operator, sql):
    person, path = operator("read", "manage"), "/console/packages"
    assert "Nothing is sold by card yet" in person.get(path)
    asked = person.send(path, PACK, path)
    html = asked.get_data(as_text=True)
    assert "Sell 50,000 credits for 10.00 EUR?" in html
    assert re.search(r"Credits for 1\.00 EUR.*5,000\.00", html)
    assert sql("SELECT count(*) FROM obol.packages") == [(0,)]
    assert person.confirm(asked).headers["Location"] == f"{path}?done=package_set"
    assert sql("SELECT price, currency, credits, lifetime_days, is_active FROM obol.packages") == [
        (1000, "eur", 50_000, 30, True)
    ]
    asked = person.send(path, PACK | {"price": "12.5", "lifetime_days": ""}, path)
    html = asked.get_data(as_text=True)
    assert re.search(r"Price.*10\.00 EUR.*12\.50 EUR", html)
    assert re.search("Usable for.*30 days.*for good", html)
    assert "Who has begun to pay" in html
    person.confirm(asked)
    ended = person.act(f"{path}/pack/end", {}, path)
    assert ended.headers["Location"] == f"{path}?done=package_ended"
    assert sql("SELECT price, lifetime_days, is_active FROM obol.packages") == [(1250, None, False)]
    assert f"{path}/pack/end" not in person.forms(path)
    acts = sql("SELECT act FROM obol.admin_acts WHERE act LIKE '%package' ORDER BY act_no")
    assert [act for (act,) in acts] == ["set_package", "set_package", "end_package"]


def test_a_file_of_packages_is_shown_as_a_difference_and_then_set(operator, sql):
    person, path = operator("read", "manage"), "/console/packages"
    given = '[[package]]\nid = "pack"\nname = "Pack <b>"\nprice = 10.00\ncurrency = "eur"\ncredits = 50_000\n'
    asked = person.send(f"{path}/import", {"file": given}, path)
    html = asked.get_data(as_text=True)
    assert "Set 1 package?" in html
    assert re.search(r"none →</span> <b>Pack &lt;b&gt;</b>.*10\.00 EUR.*50,000.*for good", html)
    assert sql("SELECT count(*) FROM obol.packages") == [(0,)]
    assert person.confirm(asked).headers["Location"] == f"{path}?done=packages_imported"
    again = person.send(f"{path}/import", {"file": given}, path).get_data(as_text=True)
    assert "The packages are as the file has them" in again
    more = given.replace('"pack"', '"other"').replace("10.00", "12.50") + "lifetime_days = 30\n"
    ended = person.send(f"{path}/import", {"file": f'not_sold = ["pack"]\n{more}'}, path)
    assert "Set 2 packages?" in ended.get_data(as_text=True)
    assert re.search("yes →</span> <b>no</b>", ended.get_data(as_text=True))
    person.confirm(ended)
    assert sql("SELECT package_id, is_active FROM obol.packages ORDER BY 1") == [("other", True), ("pack", False)]
    for wrong, said in (("package = 1", "must be tables"), ('not_sold = ["none"]', "There is no package none")):
        refused = person.send(f"{path}/import", {"file": wrong}, path)
        assert said in refused.get_data(as_text=True)
    assert refused.status_code == 404


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"package_id": "no spaces"}, "package_id"),
        ({"currency": "euro"}, "currency"),
        ({"currency": "e1"}, "currency"),
        ({"price": "1,5"}, "price"),
        ({"price": "0"}, "price"),
        ({"credits": "0"}, "credits"),
        ({"lifetime_days": "36501"}, "lifetime_days"),
        ({"name": " "}, "name"),
    ],
)
def test_a_package_that_is_wrong_is_none(operator, sql, fields, field):
    person, path = operator(), "/console/packages"
    response = person.send(path, PACK | fields, path)
    assert response.status_code == 422
    assert f"{field}: must" in response.get_data(as_text=True)
    assert sql("SELECT count(*) FROM obol.packages") == [(0,)]


def test_a_package_that_is_not_there_is_not_ended(operator):
    person = operator()
    csrf = person.forms("/console")["/console/logout"]["csrf"]
    assert person.client.post("/console/packages/none/end", data={"csrf": csrf}, headers=BROWSER).status_code == 404


@pytest.mark.usefixtures("sold")
def test_who_may_only_look_sees_no_form_and_is_refused(operator, sql):
    reader = operator("read")
    assert set(reader.forms("/console/packages")) == {"/console/logout"}
    form = PACK | {"csrf": reader.forms("/console")["/console/logout"]["csrf"], "confirmed": "1"}
    for path in ("/console/packages", "/console/packages/pack/end"):
        assert reader.client.post(path, data=form, headers=BROWSER).status_code == 403
    assert sql("SELECT count(*) FROM obol.packages WHERE is_active") == [(2,)]


@pytest.mark.usefixtures("sold")
def test_payments_are_listed_with_what_is_owed(operator, customer, new_license, begin, stripe, hook, client, sql):
    license, other = new_license(credits=0), new_license(credits=0)
    grace = operator("read")
    assert "Nobody has begun to pay" in grace.get("/console/payments")
    assert 'id="payments"' not in grace.get(f"/console/licenses/{license.id}")
    begin(customer(license), "pack")
    (session_id,) = stripe.sessions
    begin(customer(other), "yen")
    html = grace.get("/console/payments")
    assert html.index(str(other.id)) < html.index(str(license.id))
    assert "Nothing is owed" in grace.get("/console/payments?owed=1")
    hook(stripe.completed(session_id))
    client.post("/api/v1/deductions", json={"amount": 1234}, headers=license.headers, buffered=True)
    hook(stripe.refunded(session_id, 1000))
    hook(stripe.completed(list(stripe.sessions)[1], currency="usd"))
    owed = grace.get("/console/payments?owed=1")
    assert "1,234" in owed
    assert str(other.id) not in owed
    shown = grace.get(f"/console/licenses/{license.id}")
    assert re.search(r'id="payments".*1,234', shown, re.DOTALL)
    assert "currency is usd" in grace.get(f"/console/licenses/{other.id}")
    # More of them than one page has.
    sql(
        "INSERT INTO obol.payments (license_id, payment_id, package_id, name, price, currency, credits, success_url, "
        "cancel_url, state, expires_at, created_at) SELECT license_id, gen_random_uuid(), 'pack', 'Many', 1, 'eur', 1, "
        "'', '', 'pending', now(), now() + n * interval '1 second' FROM obol.licenses, generate_series(1, 30) n"
    )
    html = grace.get("/console/payments")
    (older,) = re.findall('href="(/console/payments[?][^"]*)">Older', html)
    assert (html.count("Many"), "1,234" in html) == (50, False)
    assert "1,234" in grace.get(older.replace("&amp;", "&"))


def test_the_name_of_a_package_is_text_on_every_page(operator, customer, new_license, begin):
    hostile = '"><script>alert(1)</script><img src=x onerror=alert(1)>'
    grace, license, path = operator(), new_license(), "/console/packages"
    person = customer(license)
    asked = grace.send(path, PACK | {"name": hostile}, path)
    shown = [asked.get_data(as_text=True)]
    grace.confirm(asked)
    payment = begin(person, "pack").headers["Location"]
    shown += [
        grace.get(one) for one in (path, "/console/payments", f"/console/licenses/{license.id}", "/console/audit")
    ]
    shown += [person.get(one) for one in ("/account/top-up", payment)]
    for html in shown:
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html
        assert "<img src=x" not in html
