"""The whole of it, in a browser: credits are sold, paid for by card, used, told of, and accounted for."""

import base64
import csv
import json

import anthropic
import browser
import pytest
import standardwebhooks
from factories import free_port, wait_until
from fake_stripe import API_KEY, SECRET, FakeStripe, sign
from listening import listening
from reader import Reader
from selenium.webdriver.common.by import By

from service import webhooks
from service.repository import ledger, payments
from service.repository import webhooks as alerts
from service.webhooks import Settings

CREDITS = 600
WEBHOOK_KEY = b"k" * 32


@pytest.fixture
def stripe():
    fake = FakeStripe(has_page=True)
    yield fake
    fake.stop()


@pytest.fixture
def listener():
    with listening() as server:
        server.go_on.set()
        yield server


@pytest.fixture
def shop(serve, stripe, owner):
    """The service, with everything that sells."""
    payments.set_secret(owner, SECRET, 0)
    port = free_port()
    return serve(
        PORT=str(port),
        OBOL_PUBLIC_URL=f"http://127.0.0.1:{port}",
        OBOL_STRIPE_SECRET_KEY=API_KEY,
        OBOL_STRIPE_API_BASE=stripe.url,
        OBOL_WEBHOOK_KEYS=base64.urlsafe_b64encode(WEBHOOK_KEY).decode(),
        OBOL_WEBHOOK_ALLOW_PRIVATE="1",
    )


@pytest.fixture
def reader(shop, tmp_path, request):
    browser.need_browser()
    driver = browser.start(tmp_path / "profile", javascript=getattr(request, "param", True))
    yield Reader(driver, shop.url)
    driver.quit()


@pytest.fixture
def hook(shop):
    """`hook(event)`: what became of an event that Stripe sends."""

    def send(event):
        status, body = shop.post("/webhooks/stripe", event, {"Stripe-Signature": sign(event)})
        assert status == 200, body
        return json.loads(body)["outcome"]

    return send


def test_a_stranger_pays_uses_is_told_and_sees_where_it_went(
    reader, shop, stripe, hook, listener, owner, new_token, sql, tmp_path
):
    made = webhooks.create(
        owner, Settings((WEBHOOK_KEY,), True), url=listener.url, types=["payment.received", "license.low_balance"]
    )

    # An operator sells a package, and makes a license without credits.
    reader.log_in("console", new_token())
    reader.go(reader.find('nav a[href="/console/packages"]'))
    reader.fill(
        "/console/packages",
        package_id="starter", name="Starter", price="10.00", currency="eur", credits=str(CREDITS), lifetime_days="30",
    )  # fmt: skip
    assert f"Sell {CREDITS} credits for 10.00 EUR?" in reader.text
    reader.agree()
    assert "The package is sold from now on." in reader.text
    reader.open("/console/licenses/new")
    reader.fill("/console/licenses", name="Ada", external_id="customer-7")
    reader.agree()
    key = reader.find("#secret").text
    reader.go(reader.find("main .acts a"))
    console_page = reader.path
    ((license_id,),) = sql("SELECT license_id FROM obol.licenses")
    alerts.set_alerts(owner, license_id, alerts={"credits": [CREDITS // 2]})

    # The customer opens the account, pays at Stripe, and comes back before Stripe has told.
    reader.log_in("account", key)
    assert "No credits" in reader.text
    reader.go(reader.find('nav a[href="/account/top-up"]'))
    reader.go(reader.find('form[action="/account/top-up"] button'))
    assert reader.driver.current_url.startswith(f"{stripe.url}/c/pay/")
    assert reader.text.startswith("1000 eur")
    reader.go(reader.find("button"))
    ((payment_id,),) = sql("SELECT payment_id FROM obol.payments")
    reader.wait(lambda: reader.path == f"/account/top-up/{payment_id}")
    assert "Stripe has not said yet" in reader.text

    # It tells three times; there is one grant, and the page says so by itself.
    (session_id,) = stripe.paid
    event = stripe.completed(session_id)
    assert [hook(event) for _ in range(3)] == ["booked", "replayed", "replayed"]
    reader.wait(lambda: f"{CREDITS} credits were given for it" in reader.text)
    assert sql("SELECT balance FROM obol.licenses") == [(CREDITS,)]
    assert sql("SELECT count(*) FROM obol.grants") == [(1,)]
    wait_until(lambda: listener.received, 60, "payment.received")

    # They are used until the listener hears that there are few left.
    with anthropic.Anthropic(base_url=shop.url, api_key=key, max_retries=0) as client:
        calls = 0
        while sql("SELECT balance FROM obol.licenses")[0][0] > CREDITS // 2:
            answer = client.messages.create(
                model="claude-sonnet-5-5", max_tokens=40, messages=[{"role": "user", "content": "Hello"}]
            )
            assert answer.content
            calls += 1
    wait_until(lambda: len(listener.received) >= 2, 60, "license.low_balance")
    checker = standardwebhooks.Webhook(made.secret)
    said = [checker.verify(body, headers) for headers, body in listener.received]
    told = {one["type"]: one["data"] for one in said}
    assert told.keys() == {"payment.received", "license.low_balance"}
    assert told["payment.received"]["payment_id"] == str(payment_id)
    assert (told["payment.received"]["price"], told["payment.received"]["credits"]) == (1000, CREDITS)
    ((balance,),) = sql("SELECT balance FROM obol.licenses")
    low = told["license.low_balance"]
    assert (low["external_id"], low["threshold"], low["balance"]) == ("customer-7", CREDITS // 2, balance)

    # They see in the chart, in its table and in the file where it went; the file's sum is the ledger's.
    reader.go(reader.find('nav a[href="/account"]'))
    assert f"{calls} calls" in reader.text
    assert reader.wait(lambda: reader.driver.find_elements(By.CSS_SELECTOR, ".plot canvas"))
    reader.find(".chart summary").click()
    cells = reader.driver.find_elements(By.CSS_SELECTOR, ".chart tbody td")
    assert sum(int(cell.text) for cell in cells) == CREDITS - balance
    reader.go(reader.find('nav a[href="/account/statement"]'))
    reader.driver.find_element(By.LINK_TEXT, "Download as CSV").click()
    file = tmp_path / "profile" / "downloads" / f"statement-{license_id}.csv"
    wait_until(file.exists, 60, "the download")
    rows = list(csv.DictReader(file.read_text().splitlines()))
    assert [row["kind"] for row in rows].count("charge") == calls
    assert sum(int(row["amount"]) for row in rows) == balance
    assert sql("SELECT sum(amount) FROM obol.ledger_entries") == [(balance,)]

    # The operator sees the payment, what a refund leaves to be owed, and that the ledger agrees.
    hook(stripe.refunded(session_id, 1000))
    reader.open(console_page)
    assert "Payments by card" in reader.text
    reader.open("/console/payments?owed=1")
    assert reader.find("tbody td b").text == str(CREDITS - balance)
    reader.open("/console/health")
    reader.find("#verify button").click()
    reader.wait(lambda: "Clean: every balance is what its ledger says." in reader.text)
    assert ledger.verify(owner) == []
    # What the browser refuses, it says; that the tests' own Stripe has no icon is no matter.
    log = reader.driver.get_log("browser")
    assert [line for line in log if line["level"] == "SEVERE" and stripe.url not in line["message"]] == []


@pytest.mark.parametrize("reader", [False], indirect=True)
def test_without_javascript_it_is_paid_all_the_same(reader, stripe, hook, owner, new_license):
    payments.set_package(owner, "starter", name="Starter", price=1000, currency="eur", credits=CREDITS)
    license = new_license(credits=0)
    reader.log_in("account", license.raw_key)
    reader.open("/account/top-up")
    reader.go(reader.find('form[action="/account/top-up"] button'))
    # Not now.
    reader.go(reader.find("a"))
    reader.wait(lambda: reader.path == "/account/top-up")
    reader.go(reader.find("tbody td a"))
    reader.go(reader.driver.find_element(By.LINK_TEXT, "Go on to pay at Stripe"))
    reader.go(reader.find("button"))
    reader.wait(lambda: "Stripe has not said yet" in reader.text)
    hook(stripe.completed(stripe.paid[0]))
    reader.go(reader.driver.find_element(By.LINK_TEXT, "Look again"))
    assert f"{CREDITS} credits were given for it" in reader.text
