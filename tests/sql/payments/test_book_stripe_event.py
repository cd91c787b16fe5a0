"""Events of Stripe: exactly one grant for a payment, and its money back takes what is left, in whatever order."""

import hashlib
import hmac
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import permutations
from uuid import uuid4

import pytest
from fake_stripe import SECRET, FakeStripe, sign
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from till import CREDITS, PRICE, Till

from service import operator
from service.problems import Problem
from service.repository import admin, grants, holds, ledger, payments, webhooks


@pytest.fixture
def stripe():
    fake = FakeStripe()
    yield fake
    fake.stop()


@pytest.fixture
def till(db, owner, stripe):
    return Till(db, owner, stripe)


@pytest.mark.parametrize("length", [0, 1, 16, 63, 64, 65, 200])
@pytest.mark.parametrize("message", [b"", b"a message", bytes(range(256)) * 20])
def test_the_hmac_is_that_of_everybody_else(sql, length, message):
    key = bytes(range(7, 7 + length)) if length < 200 else b"k" * length
    ((digest,),) = sql("SELECT obol.hmac_sha256(%s, %s)", (key, message))
    assert bytes(digest) == hmac.new(key, message, hashlib.sha256).digest()


def test_a_paid_checkout_is_granted_once(till, stripe, new_license, verified):
    till.package(lifetime_days=30)
    license = new_license(credits=0)
    event = stripe.completed(till.begin(license))

    assert [till.send(license, event) for _ in range(3)] == ["booked", "replayed", "replayed"]
    # The same again, under another id of an event.
    assert till.send(license, stripe.completed(next(iter(stripe.sessions)))) == "booked"
    assert till.state(license) == (CREDITS, 0)
    payment = till.payment(license)
    (grant,) = grants.list_of(till.owner, license.id, limit=9)
    assert (grant.grant_id, grant.amount, grant.reason) == (payment.payment_id, CREDITS, "purchase")
    assert (grant.expires_at - grant.starts_at).days == 30
    assert (payment.state, payment.paid_at is not None) == ("paid", True)
    acts = [a for a in admin.list_acts(till.owner) if a.act == "grant_credits"]
    assert [a.actor for a in acts] == ["stripe:" + json.loads(event)["id"]]
    verified()


def test_a_slow_payment_is_granted_when_it_has_come(till, stripe, new_license):
    license = new_license(credits=0)
    session_id = till.begin(license)
    assert till.send(license, stripe.completed(session_id, payment_status="unpaid")) == "booked"
    assert (till.state(license), till.payment(license).state) == ((0, 0), "pending")
    assert till.send(license, stripe.completed(session_id, kind="async_payment_succeeded")) == "booked"
    assert till.state(license) == (CREDITS, 0)


def test_what_was_begun_is_what_is_given(till, stripe, new_license):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.package(price=1, credits=9)
    payments.end_package(till.owner, "pack")
    assert till.send(license, stripe.completed(session_id)) == "booked"
    assert till.state(license) == (CREDITS, 0)


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"amount_total": PRICE - 1}, "amount"),
        ({"amount_total": None}, "amount"),
        ({"currency": "jpy"}, "currency"),
        ({"id": "cs_test_other"}, "session"),
    ],
)
def test_what_differs_is_not_booked_and_said(till, stripe, new_license, values, word):
    license = new_license(credits=0)
    event = stripe.completed(till.begin(license), **values)
    assert [till.send(license, event) for _ in range(2)] == ["disagrees", "replayed"]
    assert till.state(license) == (0, 0)
    assert word in till.payment(license).disagreement


def test_another_package_or_intent_is_not_booked(till, stripe, new_license):
    license = new_license(credits=0)
    session_id = till.begin(license)
    other = stripe.sessions[session_id]["metadata"] | {"package_id": "dear"}
    assert till.send(license, stripe.completed(session_id, metadata=other)) == "disagrees"
    assert till.send(license, stripe.completed(session_id)) == "booked"
    assert till.send(license, stripe.refunded(session_id, PRICE, payment_intent="pi_other")) == "disagrees"
    assert till.send(license, stripe.refunded(session_id, PRICE, amount=PRICE + 1)) == "disagrees"
    assert till.state(license) == (CREDITS, 0)


def test_an_event_of_another_license_or_of_nobody_is_ignored(till, stripe, new_license):
    license, other = new_license(credits=0), new_license(credits=0)
    event = stripe.completed(till.begin(license))
    assert till.send(other, event) == "ignored"
    mine = stripe.sessions[till.begin(other)]["metadata"]
    claimed = json.loads(event)
    claimed["data"]["object"]["metadata"] = mine | {"license_id": str(license.id)}
    # A payment of another license.
    assert till.send(license, json.dumps(claimed).encode()) == "ignored"
    assert till.send(license, stripe.event("customer.created", {"metadata": mine})) == "ignored"
    assert till.send(license, stripe.event("charge.refunded", {"metadata": {}})) == "ignored"
    assert (till.state(license), till.state(other)) == ((0, 0), (0, 0))
    assert till.send(license, event) == "booked"


def test_what_is_not_signed_now_is_not_read(till, stripe, new_license, db):
    license = new_license(credits=0)
    event = stripe.completed(till.begin(license))
    now = int(time.time())
    for signature in (
        sign(event, secret="whsec_another_secret"),
        sign(event, at=now - 400),
        sign(event, at=now + 400),
        sign(event + b" "),
        sign(event).replace("v1=", "v0="),
        sign(event).replace(f"t={now}", f"t={now - 1}"),
        f"t={now}",
        "",
        None,
    ):
        assert payments.book_event(db, license.id, payload=event, signature=signature).outcome == "forged"
    assert payments.book_event(db, license.id, payload=b"no json", signature="t=1,v1=" + "0" * 64).outcome == "forged"
    assert till.state(license) == (0, 0)
    # Among others, as while Stripe changes its secret.
    assert till.send(license, event, more="v1=" + "0" * 64 + ",", at=now - 200) == "booked"


def test_two_secrets_are_good_for_a_while(till, stripe, new_license, owner, sql):
    license = new_license(credits=0)
    session_id = till.begin(license)
    assert payments.set_secret(owner, "whsec_newer_secret_0", 3600) == 2
    assert till.send(license, stripe.expired(session_id)) == "booked"
    assert till.send(license, stripe.expired(session_id), secret="whsec_newer_secret_0") == "booked"
    assert till.payment(license).state == "expired"
    sql("UPDATE obol.stripe_secrets SET expires_at = now() WHERE expires_at IS NOT NULL")
    assert till.send(license, stripe.completed(session_id)) == "forged"
    # It was paid all the same.
    assert till.send(license, stripe.completed(session_id), secret="whsec_newer_secret_0") == "booked"
    assert till.state(license) == (CREDITS, 0)
    assert payments.set_secret(owner, SECRET, 0) == 1


def test_a_refund_in_part_takes_its_part(till, stripe, new_license, verified):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    ledger.deduct(till.db, license.key, uuid4(), amount=100)
    # A third, rounded up: 500 * 333 / 1000.
    assert till.send(license, stripe.refunded(session_id, 333)) == "booked"
    assert till.state(license) == (CREDITS - 100 - 167, 0)
    ledger.deduct(till.db, license.key, uuid4(), amount=200)
    assert till.send(license, stripe.refunded(session_id, 900)) == "booked"
    # 450 are to be gone and 200 were left: 250 were used that nobody has paid for.
    assert till.state(license) == (0, 250)
    (grant,) = grants.list_of(till.owner, license.id, limit=9)
    assert (grant.state, grant.credits_left) == ("used_up", 0)
    assert till.payment(license).refunded == 900
    verified()


def test_a_refund_leaves_what_is_held_and_takes_it_when_the_hold_ends(till, stripe, new_license, verified):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    hold_id = uuid4()
    holds.open_for_client(till.db, license.key, hold_id, amount=400, expires_in_s=600)
    till.send(license, stripe.refunded(session_id, 500))
    assert till.state(license) == (400, 150)
    till.send(license, stripe.refunded(session_id, PRICE))
    assert till.state(license) == (400, 400)
    holds.settle(till.db, license.key, hold_id, amount=150)
    grants.bring_up_to_date(till.owner, license.id)
    assert till.state(license) == (0, 150)
    verified()


def take_back(till):
    """As the chores do; of how many payments there was something to take."""
    return sum(payments.take_back(till.db, item) for item in payments.due_owed(till.db))


def test_what_was_held_when_the_money_went_back_is_taken_once_it_is_free(till, stripe, new_license, verified):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    hold_id = uuid4()
    holds.open_for_client(till.db, license.key, hold_id, amount=CREDITS, expires_in_s=600)
    till.send(license, stripe.refunded(session_id, 600))
    # Three fifths of the money are back, and all of the credits are held.
    assert (till.state(license), take_back(till)) == ((CREDITS, 300), 0)
    holds.settle(till.db, license.key, hold_id, amount=150)
    assert take_back(till) == 1
    assert till.state(license) == (CREDITS - 150 - 300, 0)
    assert take_back(till) == 0
    act = next(act for act in admin.list_acts(till.owner) if act.act == "take_back")
    assert (act.actor[:11], act.detail["amount"]) == ("stripe:evt_", 300)
    verified()


def test_what_is_held_of_it_stays_owed_while_other_credits_are_free(till, stripe, new_license, grant, verified):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    # It burns last, so the hold covers what was bought.
    grant(license, 1000, priority=90)
    ledger.deduct(till.db, license.key, uuid4(), amount=100)
    hold_id = uuid4()
    holds.open_for_client(till.db, license.key, hold_id, amount=450, expires_in_s=600)
    till.send(license, stripe.refunded(session_id, 500))
    assert (till.state(license), take_back(till)) == ((CREDITS + 900, 250), 0)
    ledger.deduct(till.db, license.key, uuid4(), amount=30)
    assert take_back(till) == 0
    holds.release(till.db, license.key, hold_id)
    assert take_back(till) == 1
    assert till.state(license) == (CREDITS + 900 - 30 - 250, 0)
    verified()


def test_nothing_to_take_is_no_error(till, stripe, new_license):
    license = new_license(credits=0)
    till.send(license, stripe.completed(till.begin(license)))
    for payment_id in (till.payment(license).payment_id, uuid4()):
        assert payments.take_back(till.db, payments.DueOwed(license.id, payment_id)) is False
    assert payments.due_owed(till.db) == []
    assert till.state(license) == (CREDITS, 0)


def test_an_inquiry_that_becomes_a_dispute_takes_the_money_whatever_tells_it(till, stripe, new_license, verified):
    """The dispute keeps its id, and what was told before may come after."""
    told = [
        ("created", "warning_needs_response"),
        ("updated", "warning_under_review"),
        ("funds_withdrawn", "needs_response"),
        ("updated", "under_review"),
    ]
    for order in permutations(told):
        license = new_license(credits=0)
        session_id = till.begin(license)
        till.send(license, stripe.completed(session_id))
        is_taken = False
        for what, status in order:
            assert till.send(license, stripe.dispute(session_id, what, status)) == "booked"
            is_taken = is_taken or not status.startswith("warning")
            assert till.state(license) == (0 if is_taken else CREDITS, 0), order
        assert till.payment(license).disputed == PRICE
        assert till.send(license, stripe.dispute(session_id, "closed", "won")) == "booked"
        assert till.send(license, stripe.dispute(session_id, "updated", "under_review")) == "booked"
        assert till.state(license) == (CREDITS, 0)
    verified()


def test_a_won_dispute_gives_back_what_was_taken(till, stripe, new_license, verified):
    till.package(lifetime_days=10)
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    ledger.deduct(till.db, license.key, uuid4(), amount=120)
    till.send(license, stripe.dispute(session_id, "created", "needs_response"))
    assert (till.state(license), till.payment(license).disputed) == ((0, 120), PRICE)
    till.send(license, stripe.dispute(session_id, "closed", "won"))
    assert (till.state(license), till.payment(license).disputed) == ((380, 0), 0)
    given = grants.list_of(till.owner, license.id, limit=9)[0]
    assert 9 <= (given.expires_at - given.starts_at).total_seconds() / 86400 <= 10
    # And a second one takes it again.
    till.send(license, stripe.dispute(session_id, "created", "needs_response", number=2))
    assert till.state(license) == (0, 120)
    till.send(license, stripe.dispute(session_id, "closed", "lost", number=2))
    assert till.state(license) == (0, 120)
    verified()


def events(sql, license, *types):
    statement = "SELECT type, data FROM obol.events WHERE license_id = %s AND type = ANY (%s) ORDER BY event_no"
    return sql(statement, (str(license.id), list(types)))


def test_a_payment_is_told_once_with_what_it_gave(till, stripe, new_license, sql, verified):
    till.package(lifetime_days=30)
    license = new_license(credits=5)
    session_id = till.begin(license)
    till.send(license, stripe.refunded(session_id, 0))
    paid = stripe.completed(session_id)
    for event in (
        paid,
        paid,
        stripe.completed(session_id),
        stripe.completed(session_id, kind="async_payment_succeeded"),
    ):
        till.send(license, event)
    ((_, opened), (_, given), (kind, received)) = events(sql, license, "grant.created", "payment.received")
    payment = till.payment(license)
    assert (kind, opened["amount"], given["amount"], given["reason"]) == ("payment.received", 5, CREDITS, "purchase")
    assert (given["grant_id"], given["balance"]) == (str(payment.payment_id), CREDITS + 5)
    assert given["expires_at"] > given["starts_at"]
    paid_at = received.pop("paid_at")
    assert (paid_at[-1], payment.paid_at.strftime("%Y-%m-%dT%H:%M:%S") in paid_at) == ("Z", True)
    assert received == {
        "license_id": str(license.id), "external_id": None, "payment_id": str(payment.payment_id), "package_id": "pack",
        "name": "Pack", "price": PRICE, "currency": "eur", "credits": CREDITS, "grant_id": str(payment.payment_id),
        "balance": CREDITS + 5,
    }  # fmt: skip
    verified()


def test_money_that_goes_back_tells_of_a_low_balance(till, stripe, new_license, sql, verified):
    license = new_license(credits=0)
    webhooks.set_alerts(till.owner, license.id, alerts={"credits": [300]})
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    till.send(license, stripe.refunded(session_id, 300))
    assert events(sql, license, "license.low_balance") == []
    till.send(license, stripe.refunded(session_id, 400))
    ((_, low),) = events(sql, license, "license.low_balance")
    assert (low["balance"], low["threshold"]) == (300, 300)
    verified()
    till.send(license, stripe.dispute(session_id, "created", "needs_response", amount=600))
    assert len(events(sql, license, "license.exhausted")) == 1
    # Given again, it is told again.
    till.send(license, stripe.dispute(session_id, "closed", "won", amount=600))
    ledger.deduct(till.db, license.key, uuid4(), amount=1)
    assert len(events(sql, license, "license.low_balance")) == 1
    verified()


def test_an_inquiry_takes_nothing_and_what_an_operator_voided_stays_so(till, stripe, new_license, verified):
    license = new_license(credits=0)
    session_id = till.begin(license)
    till.send(license, stripe.completed(session_id))
    till.send(license, stripe.dispute(session_id, "created", "warning_needs_response"))
    assert till.state(license) == (CREDITS, 0)
    operator.void_grant(till.owner, license.id, till.payment(license).payment_id)
    till.send(license, stripe.dispute(session_id, "created", "needs_response", number=2))
    till.send(license, stripe.dispute(session_id, "closed", "won", number=2))
    assert till.state(license) == (0, 0)
    verified()


def test_a_dispute_of_what_is_not_known_yet_is_to_come_again(till, stripe, new_license):
    license = new_license(credits=0)
    session_id = till.begin(license)
    dispute = stripe.dispute(session_id, "created", "needs_response")
    assert till.send(license, dispute) == "unknown_intent"
    till.send(license, stripe.completed(session_id))
    assert till.send(new_license(), dispute) == "unknown_intent"
    assert till.send(license, dispute) == "booked"
    assert till.state(license) == (0, 0)


def test_twenty_at_once_are_one(till, stripe, new_license, verified):
    license = new_license(credits=0)
    event = stripe.completed(till.begin(license))
    with ThreadPoolExecutor(20) as pool:
        outcomes = list(pool.map(lambda _: till.send(license, event), range(20)))
    assert sorted(outcomes) == ["booked"] + ["replayed"] * 19
    assert till.state(license) == (CREDITS, 0)
    verified()


STORIES = {
    "refunds": (["completed", "refund_300", "refund_1000", "expired"], (0, 0)),
    "dispute won": (["completed", "opened", "won", "refund_300"], (350, 0)),
    "dispute lost": (["async", "opened", "lost", "completed"], (0, 0)),
}


@pytest.mark.parametrize("story", STORIES)
def test_every_order_comes_to_the_same(till, stripe, new_license, verified, story):
    names, expected = STORIES[story]
    for order in permutations(names):
        license = new_license(credits=0)
        play(till, stripe, license, order)
        assert till.state(license) == expected, order
    verified()


def play(till, stripe, license, order):
    """Sends events in an order, each three times, and again what could not be booked yet; as Stripe does."""
    session_id = till.begin(license)
    make = {
        "completed": lambda: stripe.completed(session_id),
        "async": lambda: stripe.completed(session_id, kind="async_payment_succeeded"),
        "expired": lambda: stripe.expired(session_id),
        "opened": lambda: stripe.dispute(session_id, "created", "needs_response"),
        "won": lambda: stripe.dispute(session_id, "closed", "won"),
        "lost": lambda: stripe.dispute(session_id, "closed", "lost"),
        "refund_300": lambda: stripe.refunded(session_id, 300),
        "refund_1000": lambda: stripe.refunded(session_id, 1000),
    }
    waiting = [make[name]() for name in order]
    while waiting:
        again = []
        for event in waiting:
            outcomes = [till.send(license, event) for _ in range(3)]
            if outcomes[0] == "unknown_intent":
                again.append(event)
            else:
                assert outcomes == ["booked", "replayed", "replayed"]
        assert len(again) < len(waiting)
        waiting = again


STEPS = (
    "completed",
    "async",
    "expired",
    "refund_300",
    "refund_700",
    "opened",
    "won",
    "opened_2",
    "lost_2",
    "use",
    "hold",
    "settle",
    "take_back",
)


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    order=st.permutations(STEPS),
    again=st.lists(st.sampled_from(STEPS), max_size=6),
    used=st.integers(1, CREDITS),
    held=st.integers(1, CREDITS),
)
def test_whatever_comes_in_whatever_order_and_however_often(till, stripe, new_license, order, again, used, held):
    """Events, uses and holds, each at any place, some of them again: after each step the balance is not below what is
    held; at the end every credit of the payment is either there, or was paid for, or is owed."""
    license = new_license(credits=0)
    story = Story(till, stripe, license, used=used, held=held)
    for step in [*order, *again]:
        story.play(step)
        ((balance, is_held),) = till.owner.rows(HELD, license_id=license.id)
        assert balance >= is_held >= 0
    for step in list(story.to_come_again):
        story.play(step)
    story.settle()
    assert story.to_come_again == []
    balance, owed = till.state(license)
    # 700 were refunded and 1000 are lost: nothing of the money is left.
    assert balance == 0
    assert owed == story.used
    assert ledger.verify(till.owner) == []


# Three refunds, of 300, 400 and 200, of which the first fails after the second, and the second at last: 200 are back. A
# second event says each of it, and the sums are Stripe's: what has failed is not in them any more.
REFUNDS = {
    "sum_300": lambda stripe, session_id: stripe.refunded(session_id, 300, at=10),
    "sum_700": lambda stripe, session_id: stripe.refunded(session_id, 700, at=20),
    "first_fails": lambda stripe, session_id: stripe.refund_failed(session_id, 1, 300, begun_at=10, at=30),
    "first_failed": lambda stripe, session_id: stripe.refund_failed(
        session_id, 1, 300, begun_at=10, at=31, kind="charge.refund.updated"
    ),
    "sum_600": lambda stripe, session_id: stripe.refunded(session_id, 600, at=40),
    "second_fails": lambda stripe, session_id: stripe.refund_failed(session_id, 2, 400, begun_at=20, at=50),
    "second_failed": lambda stripe, session_id: stripe.refund_failed(
        session_id, 2, 400, begun_at=20, at=51, kind="refund.updated"
    ),
}
REFUND_STEPS = ("completed", *REFUNDS, "use", "hold", "settle", "take_back")


@settings(
    max_examples=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(
    order=st.permutations(REFUND_STEPS),
    again=st.lists(st.sampled_from(REFUND_STEPS), max_size=6),
    used=st.integers(1, CREDITS),
    held=st.integers(1, CREDITS),
)
def test_refunds_that_fail_in_whatever_order_and_however_often(till, stripe, new_license, order, again, used, held):
    license = new_license(credits=0)
    story = Story(till, stripe, license, used=used, held=held)
    for step in [*order, *again]:
        story.play(step)
        ((balance, is_held),) = till.owner.rows(HELD, license_id=license.id)
        assert balance >= is_held >= 0
    for step in list(story.to_come_again):
        story.play(step)
    story.settle()
    assert story.to_come_again == []
    take_back(till)
    assert take_back(till) == 0
    # A fifth of the money is back, and so a fifth of the credits is gone.
    left = CREDITS * 4 // 5 - story.used
    assert till.state(license) == (max(0, left), max(0, -left))
    assert till.payment(license).refunded == 200
    assert ledger.verify(till.owner) == []


@pytest.mark.parametrize(
    ("begun_at", "failed_at", "refunded"), [(10, 10, 0), (10, 11, 0), (9, 11, 0), (9, 10, 300), (11, 12, 300)]
)
def test_a_sum_has_a_refund_from_when_it_is_begun_until_it_fails(sql, begun_at, failed_at, refunded):
    told = {"evt_1": {"amount": 300, "at": 10}}
    failed = {"re_1": {"amount": 300, "begun_at": begun_at, "failed_at": failed_at}}
    assert sql("SELECT obol.sum_refunds(%s, %s)", (json.dumps(told), json.dumps(failed))) == [(refunded,)]
    assert sql("SELECT obol.sum_refunds(%s, %s)", (json.dumps({}), json.dumps(failed))) == [(0,)]


HELD = text("SELECT balance, held FROM obol.licenses WHERE license_id = :license_id")


class Story:
    """One license, one payment, and what happens to them; `used` is what was used of it."""

    def __init__(self, till, stripe, license, *, used, held):
        self.till, self.license, self.stripe = till, license, stripe
        self.amounts = {"use": used, "hold": held}
        self.used = 0
        self.holds = []
        self.to_come_again = []
        session_id = till.begin(license)
        self.events = {
            "completed": stripe.completed(session_id),
            "async": stripe.completed(session_id, kind="async_payment_succeeded"),
            "expired": stripe.expired(session_id),
            "refund_300": stripe.refunded(session_id, 300),
            "refund_700": stripe.refunded(session_id, 700),
            "opened": stripe.dispute(session_id, "created", "needs_response"),
            "won": stripe.dispute(session_id, "closed", "won"),
            "opened_2": stripe.dispute(session_id, "created", "needs_response", number=2),
            "lost_2": stripe.dispute(session_id, "closed", "lost", number=2),
        } | {name: make(stripe, session_id) for name, make in REFUNDS.items()}

    def play(self, step):
        if step in self.events:
            outcome = self.till.send(self.license, self.events[step])
            # Stripe sends it again.
            self.to_come_again = [one for one in self.to_come_again if one != step]
            if outcome == "unknown_intent":
                self.to_come_again.append(step)
            else:
                assert outcome in ("booked", "replayed")
        elif step == "settle":
            self.settle()
        elif step == "take_back":
            take_back(self.till)
        else:
            # There may be too few.
            with suppress(Problem):
                getattr(self, step)(self.amounts[step])

    def use(self, amount):
        ledger.deduct(self.till.db, self.license.key, uuid4(), amount=amount)
        self.used += amount

    def hold(self, amount):
        hold_id = uuid4()
        holds.open_for_client(self.till.db, self.license.key, hold_id, amount=amount, expires_in_s=600)
        self.holds.append((hold_id, amount))

    def settle(self):
        """End every hold at a half of it."""
        while self.holds:
            hold_id, amount = self.holds.pop()
            holds.settle(self.till.db, self.license.key, hold_id, amount=amount // 2)
            self.used += amount // 2
        grants.bring_up_to_date(self.till.owner, self.license.id)


@pytest.mark.tampers
@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE obol.payments SET credits = credits + 1", "a payment has its grant once it is paid, and not before"),
        ("UPDATE obol.payments SET state = 'pending', paid_at = NULL", "a payment has its grant once"),
        ("DELETE FROM obol.stripe_events", "a paid payment has the event that says so"),
        ("UPDATE obol.payments SET refunded = 1", "what is refunded of a payment is what Stripe has told of it"),
        (
            "INSERT INTO obol.payment_grants SELECT g.license_id, g.grant_id, p.payment_id FROM obol.grants g "
            "JOIN obol.payments p USING (license_id) WHERE g.grant_id <> p.payment_id",
            "what is given again for a payment was taken before",
        ),
    ],
)
def test_verify_finds_a_payment_that_is_not_as_it_says(till, stripe, new_license, sql, statement, rule):
    license = new_license(credits=10)
    till.send(license, stripe.completed(till.begin(license)))
    assert ledger.verify(till.owner) == []
    sql(statement)
    assert any(finding.rule.startswith(rule) for finding in ledger.verify(till.owner))


def test_the_service_s_login_calls_nothing_that_grants(db, new_license, urls, till):
    license = new_license(credits=0)
    for call in (
        f"give_for_payment('{license.id}', gen_random_uuid(), gen_random_uuid(), 5, NULL, 'stripe:mine')",
        f"square_payment('{license.id}', gen_random_uuid(), 'mine')",
        f"note_refund('{license.id}', gen_random_uuid(), '{{}}')",
        f"note_stripe_state('{license.id}', gen_random_uuid(), 'x', '{{}}')",
        "set_stripe_secret('whsec_mine_mine_mine', 0)",
        "is_signed_by_stripe('x', 'x')",
        "hmac_sha256('x', 'x')",
    ):
        with pytest.raises(Problem) as caught:
            db.rows(text(f"SELECT obol.{call}".replace(":", r"\:")))
        assert caught.value.__cause__.pgcode == "42501", call
