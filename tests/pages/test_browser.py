"""A real browser through the console and the account, as one story; each page in both schemes and two widths."""

import base64
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import browser
import pytest
from factories import run, wait_until
from fake_stripe import API_KEY, SECRET, FakeStripe, sign
from one_server import *  # noqa: F403
from photographs import FORMS, GUESTS, PAGES, PASSED, VAST
from reader import Reader
from selenium.webdriver.common.by import By

from service import keys, operator, sealing
from service.db import Database
from service.repository import holds, ledger, limits, payments, webhooks
from service.repository.admin import SCOPES

ROOT = Path(__file__).resolve().parents[2]
# What the server of this file is set to besides.
WEBHOOK_KEY = b"w" * 32
ENVIRON = {
    "OBOL_WEBHOOK_KEYS": base64.urlsafe_b64encode(WEBHOOK_KEY).decode().rstrip("="),
    "OBOL_WEBHOOK_ALLOW_PRIVATE": "1",
    # Nothing is paid here; the pages that sell are there.
    "OBOL_STRIPE_SECRET_KEY": API_KEY,
    "OBOL_PUBLIC_URL": "https://credits.example",
}

# What the README shows, each as one of the pictures is; TEST_PICTURES=docs/pictures puts them where it has them.
PICTURES = {
    "console-overview": "overview-desktop-light",
    "console-license": "license-desktop-light",
    "account-phone": "account-phone-dark",
    "console-health": "health-desktop-light",
}
LARGEST_PICTURE = 150_000

# Written at each run, for who wants to look; never committed.
SCREENSHOTS = Path(os.environ.get("TEST_SCREENSHOTS") or ROOT / ".screenshots")


@pytest.fixture
def owner(urls):
    database = Database(urls.owner, pool_size=2, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def token(owner):
    return operator.create_token(owner, name=f"Grace {os.urandom(4).hex()}", scopes=SCOPES).token


@pytest.fixture
def reader(served, tmp_path, request):
    browser.need_browser()
    driver = browser.start(tmp_path / "profile", javascript=getattr(request, "param", True))
    yield Reader(driver, served.url)
    driver.quit()


class Business:
    """Four weeks of a shop: the first of its licenses, with a key of its holder's, and a webhook that fails."""

    def __init__(self, owner, served):
        self.licenses = [
            operator.create_license(owner, credits=credits, name=name, external_id=external_id)
            for name, credits, external_id in (
                ("Ada Lovelace", 60_000, "customer-12"),
                ("Analytical Engines Ltd", 150_000, "customer-13"),
                ("Charles Babbage", 40_000, "customer-14"),
                ("Mary Somerville", 24_000, None),
            )
        ]
        self.license = self.licenses[0]
        self.license_id, self.license_key = self.license.license_id, self.license.license_key
        for made, uses, topped_up in zip(self.licenses, (84, 112, 56, 28), (30_000, 90_000, 25_000, 0), strict=True):
            self._use(owner, made, uses, topped_up)
        self._ask(served)
        ends = operator.Terms(10, None, datetime.now(UTC) + timedelta(days=5))
        operator.grant_credits(owner, self.license_id, 8_000, terms=ends, reason="promotion", reference="autumn")
        key = keys.parse(self.license_key)
        limits.set_own_keys(owner, self.license_id, 3)
        daily = {"credits_per_day": 2000}
        self.own_key_id = operator.create_own_key(owner, key, name="Office", limits=daily).key.key_id
        self.webhook_id = uuid4()
        secret = sealing.seal(WEBHOOK_KEY, b"whsec_" + base64.b64encode(b"s" * 24), self.webhook_id.bytes)
        url = "https://shop.example.com/obol"
        webhooks.create(owner, self.webhook_id, url=url, name="shop", types=None, secret=secret)
        webhooks.note(owner, self.webhook_id, error="it answered with status 410", is_gone=True)
        operator.grant_credits(owner, self.license_id, 1000, reference="order 76")
        alerts = {"credits": [10_000], "percent": [20]}
        webhooks.set_alerts(owner, self.license_id, alerts=alerts, email="ada@example.com")

    def _use(self, owner, made, uses, topped_up):
        key = keys.parse(made.license_key)
        for n in range(uses):
            amount = 300 + 97 * (n % 7) + 11 * (n % 5) + 4 * n
            ledger.deduct(owner, key, uuid4(), amount=amount, reference=f"invoice {n + 1}")
            if topped_up and n % 28 == 20:
                operator.grant_credits(owner, made.license_id, topped_up, reference=f"order {40 + n}")

    def _ask(self, served):
        headers = {"Authorization": f"Bearer {self.license_key}"}
        for n in range(14):
            body = b'{"prompt": "Hello", "max_tokens": %d}' % (5 + 3 * n)
            status, answer = served.post("/api/v1/generate", body, headers)
            assert status == 200, answer

    def spread(self, urls):
        """Let what happened have happened over four weeks; each grant with its entry."""
        statement = """
            SET session_replication_role = replica;
            UPDATE obol.licenses SET created_at = created_at - interval '30 days'
             WHERE license_id = ANY (%(ids)s::uuid[]);
            DELETE FROM obol.business_rollups;
            UPDATE obol.ledger_entries e
               SET created_at = e.created_at - interval '28 days' * (1 - e.entry_no::numeric / l.entry_count)::float
              FROM obol.licenses l WHERE l.license_id = e.license_id AND e.license_id = ANY (%(ids)s::uuid[]);
            UPDATE obol.grants g SET created_at = e.created_at, starts_at = e.created_at
              FROM obol.ledger_entries e
             WHERE e.license_id = g.license_id AND e.kind = 'grant' AND e.cause_id = g.grant_id
               AND g.license_id = ANY (%(ids)s::uuid[])
        """
        run(urls.owner, statement, {"ids": [str(made.license_id) for made in self.licenses]})


def sell(owner, made):
    """Packages, a payment of which a part went back after it was used, and one that is not paid yet; their ids."""
    payments.set_package(
        owner, "starter", name="Starter", price=1000, currency="eur", credits=100_000, lifetime_days=365
    )
    payments.set_package(owner, "large", name="Large, for teams", price=10_000, currency="eur", credits=1_200_000)
    payments.set_package(owner, "old", name="Old", price=500, currency="eur", credits=10_000)
    payments.end_package(owner, "old")
    payments.set_secret(owner, SECRET, 0)
    stripe, key = FakeStripe(), keys.parse(made.license_key)
    ids = []
    for package_id in ("starter", "large"):
        pending = payments.begin(
            owner, key, uuid4(), package_id=package_id, success_url="https://o/", cancel_url="https://o/"
        )
        ids.append(pending.payment_id)
        names = ("license_id", "payment_id", "package_id")
        metadata = dict(zip(names, map(str, (made.license_id, pending.payment_id, package_id)), strict=True))
        session_id = stripe.add_session(metadata=metadata, price=pending.price)
        payments.note_checkout(
            owner, key, pending.payment_id, session_id=session_id, checkout_url="https://checkout.stripe.com/c/pay/1"
        )
        if package_id == "starter":
            for event in (stripe.completed(session_id), stripe.refunded(session_id, 250)):
                payments.book_event(owner, made.license_id, payload=event, signature=sign(event))
    stripe.stop()
    return ids


def test_a_story_through_the_console_and_the_account(reader, served, token, owner):
    console = "/console"
    reader.log_in("console", token)
    assert "Owed to customers" in reader.text

    # A license, whose key is shown once.
    reader.open(f"{console}/licenses/new")
    reader.fill(f"{console}/licenses", name="Ada", credits="5,000", external_id="customer-7")
    assert "Make a license for Ada?" in reader.text
    reader.agree()
    key = reader.find("#secret").text
    assert key.startswith("obol_")
    reader.go(reader.find("main .acts a"))
    page = reader.path
    assert "5,000" in reader.text

    # Credits; the page that asks says what there will be.
    reader.fill(f"{page}/grants", amount="2500", reference="order 12")
    assert "7,500" in reader.text
    reader.agree()
    assert "The credits are granted." in reader.text

    # The customer uses some.
    status, _ = served.post("/api/v1/deductions", b'{"amount": 1200, "reference": "invoice 7"}', {"x-api-key": key})
    assert status == 200
    reader.log_in("account", key)
    assert "6,300" in reader.text
    canvas = reader.wait(lambda: reader.driver.find_elements(By.CSS_SELECTOR, ".plot canvas"))
    assert canvas[0].size["width"] > 200
    reader.open("/account/statement")
    assert "invoice 7" in reader.text
    csv = served.get("/api/v1/license/entries", {"x-api-key": key, "Accept": "text/csv"})[1].decode()
    shown = reader.driver.execute_async_script(
        "fetch('/account/statement.csv').then((got) => got.text()).then(arguments[0])"
    )
    assert shown == csv
    assert sum(int(line.split(",")[3]) for line in csv.splitlines()[1:]) == 6300

    # The operator finds the license as it is typed, gives something back, and suspends it.
    reader.open(f"{console}/licenses")
    reader.find('input[name="query"]').send_keys("customer-7")
    reader.wait(lambda: "query=customer-7" in reader.path)
    assert "Ada" in reader.text
    reader.open(f"{page}/statement")
    reader.go(reader.driver.find_element(By.LINK_TEXT, "deduction"))
    reader.fill(f"{page}/refunds", amount="200", reason="the answer was late")
    reader.agree()
    assert "The credits are given back." in reader.text
    assert "6,500" in reader.text
    reader.fill(f"{page}/status")
    reader.agree()
    assert "The license is suspended." in reader.text
    assert served.post("/api/v1/deductions", b'{"amount": 1}', {"x-api-key": key})[0] == 403

    # The ledger agrees; htmx puts the answer where the button was, and what refuses it, too.
    reader.open(f"{console}/health")
    reader.driver.execute_script("document.querySelector('#verify [name=csrf]').value = 'of nobody'")
    reader.find("#verify button").click()
    reader.wait(lambda: "The form is not of this session." in reader.find("#verify").text)
    # Of which the browser has a word, too, and of nothing else.
    assert all("/console/verify" in line["message"] for line in _severe(reader))
    reader.open(f"{console}/health")
    reader.find("#verify button").click()
    reader.wait(lambda: "Clean: every balance is what its ledger says." in reader.text)
    reader.open(f"{console}/audit")
    assert "suspend" in reader.text.lower() or "set license" in reader.text.lower()
    reader.go(reader.find(".who button"))
    assert reader.path.startswith("/console/login")
    assert _severe(reader) == []


def _severe(reader):
    """What the browser found wrong since it was asked last."""
    return [line for line in reader.driver.get_log("browser") if line["level"] == "SEVERE"]


@pytest.mark.parametrize("reader", [False], indirect=True)
def test_without_javascript_pages_are_read_and_forms_sent(reader, token):
    reader.log_in("console", token)
    assert "Owed to customers" in reader.text
    reader.go(reader.find('nav a[href="/console/licenses"]'))
    reader.open("/console/licenses/new")
    reader.fill("/console/licenses", name="No script", credits="10")
    reader.agree()
    key = reader.find("#secret").text
    reader.go(reader.find("main .acts a"))
    page = reader.path
    assert "No script" in reader.text
    reader.find(".chart summary").click()
    assert reader.find(".chart tbody tr:last-child td").text == "10"
    for action, fields in {
        "grants": {"amount": "90"},
        "adjustments": {"amount": "-5", "reason": "counted twice"},
        "limits": {"credits_per_day": "50"},
        "alerts": {"credits": "20"},
        "own-keys": {"most": "2"},
        "name": {"name": "Scriptless"},
        "status": {},
        "expiry": {},
    }.items():
        reader.fill(f"{page}/{action}", **fields)
        reader.agree()
        assert reader.path.startswith(f"{page}?done="), action
    reader.fill(f"{page}/status")
    reader.agree()
    reader.fill(f"{page}/keys", name="CI")
    reader.agree()
    assert reader.find("#secret").text.startswith("obol_")
    reader.open("/console/webhooks")
    reader.fill("/console/webhooks", url="https://shop.example.com/obol", name="shop")
    reader.agree()
    assert reader.find("#secret").text.startswith("whsec_")
    reader.go(reader.find("main .acts a"))
    reader.fill(f"{reader.path}/pause")
    reader.agree()
    assert "paused" in reader.text
    reader.open("/console/tokens")
    reader.fill("/console/tokens", name=f"scriptless {os.urandom(4).hex()}")
    reader.agree()
    assert reader.find("#secret").text.startswith("obol_admin_")
    reader.open("/console/licenses")
    reader.find('input[name="query"]').send_keys("Scriptl")
    reader.go(reader.find("form.filter button"))
    assert "Scriptless" in reader.text
    reader.open("/console/audit")
    assert "set own keys" in reader.text
    reader.open("/console/health")
    reader.go(reader.find("#verify button"))
    assert "Clean" in reader.text

    reader.log_in("account", key)
    assert "95" in reader.text
    reader.open("/account/statement")
    reader.go(reader.find("form.filter button"))
    assert "counted twice" in reader.text
    reader.open("/account")
    reader.go(reader.find('a[href="/account/keys"]'))
    reader.fill("/account/keys", name="Office", credits_per_day="5")
    reader.agree()
    reader.go(reader.find("main .acts a"))
    assert "5 credits a day" in reader.text
    reader.go(reader.find("main tbody button"))
    reader.agree()
    assert "The key is revoked." in reader.text
    reader.go(reader.find(".who button"))
    assert reader.path.startswith("/account/login")
    reader.open(page)
    reader.fill(f"{page}/rotate", hours="24")
    reader.agree()
    assert reader.find("#secret").text.startswith("obol_")


def test_the_console_is_used_with_a_keyboard(reader, token):
    from selenium.webdriver.common.keys import Keys

    reader.log_in("console", token)
    reader.find("body").send_keys(Keys.TAB)
    assert reader.driver.switch_to.active_element.get_attribute("class") == "skip"
    order = []
    for _ in range(8):
        reader.driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = reader.driver.switch_to.active_element
        order.append(focused.get_attribute("href") or focused.tag_name)
        assert focused.value_of_css_property("outline-style") == "solid"
    assert [one.removeprefix(reader.url) for one in order][:3] == ["/console", "/console", "/console/licenses"]

    # A form is found, filled in, sent and agreed to, and nothing is clicked.
    reader.open("/console/licenses/new")
    reader.tab_to(lambda at: at.get_attribute("name") == "name").send_keys("Keyboard")
    reader.tab_to(lambda at: at.get_attribute("name") == "credits").send_keys("1,200")
    reader.leave_with(reader.driver.switch_to.active_element, Keys.ENTER)
    assert "Make a license for Keyboard?" in reader.text
    reader.leave_with(reader.tab_to(lambda at: at.text == "Make the license"), Keys.SPACE)
    assert reader.find("#secret").text.startswith("obol_")
    reader.leave_with(reader.tab_to(lambda at: at.text == "Go on"), Keys.ENTER)
    assert "1,200" in reader.text


def test_a_link_in_a_mail_opens_the_page_of_whoever_is_logged_in(reader, token):
    # A page of nobody's. Without a session the form to log in comes, and the page after it.
    link = f"data:text/html,<a href='{reader.url}/account/statement'>look</a>"
    reader.driver.get(link)
    reader.driver.find_element(By.CSS_SELECTOR, "a").click()
    wait_until(lambda: reader.path == "/account/login?next=%2Faccount%2Fstatement", what="the form to log in")
    reader.log_in("console", token)
    reader.driver.get(f"data:text/html,<a href='{reader.url}/console/licenses'>look</a>")
    reader.driver.find_element(By.CSS_SELECTOR, "a").click()
    wait_until(lambda: reader.path == "/console/licenses?led=1" and "Licenses" in reader.text, what="the page")


@pytest.mark.timeout(600)
def test_every_page_is_right_for_everybody_and_photographed(reader, served, owner, urls):
    made = Business(owner, served)
    operator.verify(owner, since=datetime.now(UTC) - timedelta(minutes=5), most=1)
    # Each heartbeat says which answers have arrived.
    wait_until(lambda: not holds.list_holds(owner, "undelivered", limit=1), 60, "answers to arrive")
    made.spread(urls)
    operator.verify(owner, most=1)
    token = operator.create_token(owner, name="Grace Hopper", scopes=SCOPES).token
    ((cause,),) = owner_rows(urls, made.license_id)
    paid, pending = sell(owner, made)
    said = {"cause": cause, "paid": paid, "pending": pending, "key_id": made.license.key_id}
    said |= {name: getattr(made, name) for name in ("license_id", "webhook_id", "own_key_id")}
    found = {name: look(reader, name, path.format(**said)) for name, path in GUESTS.items()}
    found |= {name: look(reader, name, path.format(**said), stay=True) for name, path in PASSED.items()}
    reader.log_in("account", made.license_key)
    reader.log_in("console", token)
    found |= {name: look(reader, name, path.format(**said)) for name, path in PAGES.items()}
    for name, (page, action, fields, is_agreed) in FORMS.items():
        reader.open(page.format(**said))
        reader.fill(action.format(**said), **fields)
        if is_agreed:
            reader.agree()
        found[name] = look(reader, name, None)
    # htmx puts what was found where the button was.
    reader.open("/console/health")
    reader.find("#verify button").click()
    reader.wait(lambda: "Clean" in reader.find("#verify").text)
    found["health-verified"] = look(reader, "health-verified", None)
    # Whoever was logged out meanwhile has what was typed.
    page, action, fields, _ = FORMS["confirm"]
    reader.open(page.format(**said))
    reader.driver.delete_all_cookies()
    reader.fill(action.format(**said), **fields)
    found["ended"] = look(reader, "ended", None)
    assert {name: said for name, said in found.items() if said} == {}
    assert len(list(SCREENSHOTS.glob("*.png"))) >= 4 * len(found)


def take_picture(driver, name):
    """What a visitor sees first of a page, as a small file."""
    folder = Path(os.environ.get("TEST_PICTURES") or SCREENSHOTS / "pictures")
    folder.mkdir(exist_ok=True)
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
    driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": False})
    content = base64.b64decode(taken["data"])
    assert len(content) < LARGEST_PICTURE, f"{name}: {len(content)} bytes"
    (folder / f"{name}.png").write_bytes(content)


def owner_rows(urls, license_id):
    return run(
        urls.owner,
        "SELECT hold_id FROM obol.holds WHERE license_id = %s AND state = 'settled' ORDER BY opened_at DESC LIMIT 1",
        (str(license_id),),
    )


def look(reader, name, path, *, stay=False):
    """A picture of a page in each scheme and width; what is wrong with it. `stay`: though it leads on at once."""
    SCREENSHOTS.mkdir(exist_ok=True)
    wrong = []
    for width in browser.WIDTHS:
        for scheme in browser.SCHEMES:
            browser.show_as(reader.driver, scheme, width)
            if stay:
                reader.open_still(path)
            elif path is not None:
                reader.open(path)
            for picture, of in PICTURES.items():
                if of == f"{name}-{width}-{scheme}":
                    take_picture(reader.driver, picture)
            size = reader.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
            taken = reader.driver.execute_cdp_cmd(
                "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
            )
            (SCREENSHOTS / f"{name}-{width}-{scheme}.png").write_bytes(base64.b64decode(taken["data"]))
            if name not in VAST:
                wrong += [f"{width} {scheme}: {one}" for one in browser.violations(reader.driver)]
            if size["width"] > browser.WIDTHS[width][0]:
                wrong.append(f"{width}: the page is {size['width']} wide")
    return wrong
