"""Stripe's webhooks in the whole shape that it sends them in, signed as its own SDK signs them, and what they book."""

import json
import time
from uuid import uuid4

import pytest
from factories import ROOT
from fake_stripe import API_KEY, SECRET, FakeStripe, sign
from stripe import SignatureVerificationError, Webhook, WebhookSignature
from till import CREDITS, PRICE, Till

EVENTS = ROOT / "tests" / "stripe_events"
KINDS = sorted(path.stem for path in EVENTS.glob("*.json"))


@pytest.fixture
def stripe():
    fake = FakeStripe()
    yield fake
    fake.stop()


@pytest.fixture
def till(db, owner, stripe):
    return Till(db, owner, stripe)


@pytest.fixture
def environ(environ, stripe):
    return environ | {
        "OBOL_STRIPE_SECRET_KEY": API_KEY,
        "OBOL_STRIPE_API_BASE": stripe.url,
        "OBOL_PUBLIC_URL": "https://credits.example/",
    }


@pytest.fixture
def license(new_license):
    return new_license(credits=0)


@pytest.fixture
def shape(till, license):
    """`shape("charge.refunded", back=400)`: the bytes of such an event of a payment that the license has begun."""
    session_id, now = till.begin(license), int(time.time())
    begun = {
        "session_id": session_id,
        "license_id": str(license.id),
        "payment_id": str(till.payment(license).payment_id),
        "package_id": "pack",
        "payment_intent": "pi_3PgafyB7WZ01zgkW0SjxsAJo",
        "charge_id": "ch_3PgafyB7WZ01zgkW0XYmPNZs",
        "dispute_id": "du_1Pgc71B7WZ01zgkWMevJiAUx",
        "refund_id": "re_3PgafyB7WZ01zgkW0vJtZ1cQ",
        "refund_status": "failed",
        "price": PRICE,
        "payment_status": "paid",
        "created": now,
        "expires_at": now + 43_200,
        "due_by": now + 604_800,
        "failed_at": now + 86_400,
    }

    def fill(kind, back=PRICE, failed=PRICE, disputed=PRICE, **values):
        document = (EVENTS / f"{kind}.json").read_text(encoding="utf-8")
        counted = {
            "event_id": f"evt_{uuid4().hex}",
            "back": back,
            "is_all_back": back == PRICE,
            "failed": failed,
            "disputed": disputed,
            "minus_disputed": -disputed,
            "minus_disputed_and_fee": -disputed - 2000,
        }
        for name, value in (begun | counted | values).items():
            document = document.replace(f'"{{{name}}}"', json.dumps(value))
        assert '"{' not in document
        return document.rstrip().encode()

    return fill


@pytest.fixture
def hook(client):
    """`hook(event)`: the response to an event with the signature that Stripe's SDK makes of it."""

    def send(event, signature=None):
        return client.post(
            "/webhooks/stripe",
            data=event,
            content_type="application/json; charset=utf-8",
            headers={
                "Stripe-Signature": signature or WebhookSignature.generate_signature_header(event.decode(), SECRET)
            },
        )

    return send


@pytest.fixture
def booked(hook):
    """`booked(event)`: it is booked, and however often it comes again it is not."""

    def check(event):
        assert [hook(event).get_json()["outcome"] for _ in range(3)] == ["booked", "replayed", "replayed"]

    return check


@pytest.mark.parametrize("kind", KINDS)
def test_stripe_s_sdk_believes_what_we_sign_and_nothing_else(shape, kind):
    event, now = shape(kind, status="lost"), int(time.time())
    signature = WebhookSignature.generate_signature_header(event.decode(), SECRET, now)
    assert sign(event, at=now) == signature
    read = Webhook.construct_event(event, sign(event, more="v0=" + "0" * 64 + ","), SECRET)
    assert (read.type, read.data.object.object) == (kind, json.loads(event)["data"]["object"]["object"])
    for payload, wrong in (
        (event, sign(event, secret="whsec_another_secret")),
        (event, sign(event, at=now - 301)),
        (event, signature[:-1] + ("1" if signature.endswith("0") else "0")),
        (event + b"\n", signature),
    ):
        with pytest.raises(SignatureVerificationError):
            Webhook.construct_event(payload, wrong, SECRET)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_sdk_refuses_is_refused(shape, hook, till, license, problem, kind):
    event = shape(kind, status="lost")
    signature = sign(event)
    problem(hook(event, sign(event, secret="whsec_another_secret")), "signature_invalid")
    problem(hook(event + b"\n", signature), "signature_invalid")
    assert (till.state(license), till.payment(license).state) == ((0, 0), "pending")


def test_who_has_paid_has_the_credits_once(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed"))
    booked(shape("checkout.session.completed"))
    assert (till.state(license), till.payment(license).state) == ((CREDITS, 0), "paid")
    verified()


def test_who_pays_slowly_has_them_when_it_has_come(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed", payment_status="unpaid"))
    assert (till.state(license), till.payment(license).state) == ((0, 0), "pending")
    booked(shape("checkout.session.async_payment_succeeded"))
    assert (till.state(license), till.payment(license).state) == ((CREDITS, 0), "paid")
    verified()


def test_what_expires_is_ended(shape, booked, till, license, verified):
    booked(shape("checkout.session.expired"))
    assert (till.state(license), till.payment(license).state) == ((0, 0), "expired")
    verified()


def test_what_is_refunded_is_taken_back_once(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed"))
    for back, left in ((400, 300), (PRICE, 0), (400, 0)):
        booked(shape("charge.refunded", back=back))
        assert till.state(license) == (left, 0)
    assert till.payment(license).refunded == PRICE
    verified()


@pytest.mark.parametrize("failed", [400, PRICE])
def test_what_was_taken_for_a_refund_that_fails_is_given_back_once(
    shape, booked, hook, till, license, verified, failed
):
    booked(shape("checkout.session.completed"))
    booked(shape("charge.refunded", back=failed))
    assert till.state(license) == (CREDITS - failed // 2, 0)
    for status in ("pending", "requires_action", "succeeded"):
        told = renamed(shape("refund.failed", failed=failed, refund_status=status), "refund.updated")
        assert hook(told).get_json() == {"outcome": "ignored"}
    for kind in ("refund.failed", "refund.updated", "charge.refund.updated"):
        booked(renamed(shape("refund.failed", failed=failed), kind))
        assert (till.state(license), till.payment(license).refunded) == ((CREDITS, 0), 0)
    verified()


def renamed(event, kind):
    """The three events of a refund have one shape."""
    return json.dumps(json.loads(event) | {"type": kind}).encode()


def test_a_refund_that_fails_and_is_made_again_is_taken_again(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed"))
    first = {"created": 1_000, "failed_at": 2_000, "refund_id": "re_1"}
    booked(shape("charge.refunded", back=PRICE, created=1_000))
    booked(shape("refund.failed", **first))
    assert till.state(license) == (CREDITS, 0)
    # Of the second there is as much in all as there was of the first.
    booked(shape("charge.refunded", back=PRICE, created=3_000))
    assert till.state(license) == (0, 0)
    booked(shape("refund.failed", **first))
    assert till.state(license) == (0, 0)
    booked(renamed(shape("refund.failed", created=3_000, refund_id="re_2", refund_status="canceled"), "refund.updated"))
    assert till.state(license) == (CREDITS, 0)
    verified()


def test_a_refund_that_fails_before_all_else_is_to_come_again(
    shape, booked, hook, stripe, till, license, problem, verified
):
    failed = shape("refund.failed")
    said = json.loads(shape("charge.refunded"))["data"]["object"]
    stripe.intents[said["payment_intent"]] = {"object": "payment_intent", "metadata": {}}
    assert hook(failed).get_json() == {"outcome": "ignored"}
    stripe.intents[said["payment_intent"]]["metadata"] = said["metadata"]
    problem(hook(failed), "payment_not_found", "60")
    booked(shape("checkout.session.completed"))
    booked(failed)
    booked(shape("charge.refunded"))
    assert till.state(license) == (CREDITS, 0)
    verified()


def test_a_refund_in_another_currency_is_not_booked(shape, hook, till, license):
    booked = [hook(shape("checkout.session.completed")), hook(shape("charge.refunded"))]
    assert [answer.get_json()["outcome"] for answer in booked] == ["booked", "booked"]
    event = json.loads(shape("refund.failed"))
    event["data"]["object"]["currency"] = "jpy"
    assert hook(json.dumps(event).encode()).get_json()["outcome"] == "disagrees"
    assert till.state(license) == (0, 0)


@pytest.mark.parametrize(
    ("created", "is_withdrawn", "closed", "meanwhile", "at_last"),
    [
        ("needs_response", True, "lost", 0, 0),
        ("needs_response", True, "won", 0, CREDITS),
        ("warning_needs_response", False, "warning_closed", CREDITS, CREDITS),
        # An inquiry that became a dispute.
        ("warning_needs_response", True, "lost", 0, 0),
        ("warning_needs_response", True, "won", 0, CREDITS),
    ],
)
def test_what_is_disputed_is_taken_until_it_is_won(
    shape, booked, hook, till, license, verified, created, is_withdrawn, closed, meanwhile, at_last
):
    booked(shape("checkout.session.completed"))
    booked(shape("charge.dispute.created", status=created))
    if is_withdrawn:
        booked(shape("charge.dispute.funds_withdrawn"))
    assert till.state(license) == (meanwhile, 0)
    assert hook(shape("charge.dispute.funds_reinstated")).get_json() == {"outcome": "ignored"}
    assert till.state(license) == (meanwhile, 0)
    booked(shape("charge.dispute.closed", status=closed))
    assert till.state(license) == (at_last, 0)
    verified()


@pytest.mark.parametrize(
    ("case_type", "moved", "left"),
    [
        ("block", [], CREDITS),
        ("resolution", [], 0),
        ("resolution", [-PRICE], 0),
        ("resolution", [-PRICE, PRICE], CREDITS),
    ],
)
@pytest.mark.parametrize("kind", ["charge.dispute.created", "charge.dispute.closed"])
def test_what_was_prevented_takes_what_it_has_moved(
    shape, booked, till, license, verified, kind, case_type, moved, left
):
    def prevented():
        event = json.loads(shape(kind, status="prevented"))
        dispute = event["data"]["object"]
        dispute["payment_method_details"]["card"]["case_type"] = case_type
        dispute["balance_transactions"] = [{"object": "balance_transaction", "amount": amount} for amount in moved]
        return json.dumps(event).encode()

    booked(shape("checkout.session.completed"))
    for _ in range(2):
        booked(prevented())
        assert (till.state(license), till.payment(license).disputed) == ((left, 0), PRICE if left == 0 else 0)
    verified()


def test_what_was_prevented_without_a_card_takes_nothing(shape, booked, till, license, verified):
    event = json.loads(shape("charge.dispute.created", status="prevented"))
    del event["data"]["object"]["payment_method_details"], event["data"]["object"]["balance_transactions"]
    booked(shape("checkout.session.completed"))
    booked(json.dumps(event).encode())
    assert till.state(license) == (CREDITS, 0)
    verified()


def test_what_was_opened_and_then_prevented_is_given_back(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed"))
    booked(shape("charge.dispute.created", status="needs_response"))
    assert till.state(license) == (0, 0)
    event = json.loads(shape("charge.dispute.closed", status="prevented"))
    dispute = event["data"]["object"]
    dispute["balance_transactions"].append({**dispute["balance_transactions"][0], "amount": PRICE})
    booked(json.dumps(event).encode())
    assert till.state(license) == (CREDITS, 0)
    verified()


def test_a_dispute_of_a_part_takes_that_part(shape, booked, till, license, verified):
    booked(shape("checkout.session.completed"))
    booked(shape("charge.dispute.created", status="needs_response", disputed=400))
    assert (till.state(license), till.payment(license).disputed) == ((300, 0), 400)
    verified()


def test_what_comes_in_the_wrong_order_ends_the_same(shape, booked, hook, stripe, till, license, problem, verified):
    dispute = shape("charge.dispute.closed", status="lost", disputed=600)
    said = json.loads(shape("charge.refunded"))["data"]["object"]
    stripe.intents[said["payment_intent"]] = {"object": "payment_intent", "metadata": said["metadata"]}
    problem(hook(dispute), "payment_not_found", "60")
    booked(shape("charge.refunded", back=400))
    booked(dispute)
    booked(shape("checkout.session.completed"))
    booked(shape("charge.dispute.created", status="needs_response", disputed=600))
    assert till.state(license) == (0, 0)
    verified()


@pytest.mark.parametrize("kind", ["checkout.session.completed", "charge.refunded"])
def test_what_the_customer_was_shown_in_another_currency_is_booked_in_ours(shape, booked, kind):
    event = json.loads(shape(kind))
    event["data"]["object"]["presentment_details"] = {"presentment_amount": 1170, "presentment_currency": "usd"}
    booked(json.dumps(event, indent=2).encode())
