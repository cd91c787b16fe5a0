"""What a process does beside the calls: it tells, it delivers, and what fails keeps nothing else from being done."""

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from factories import wait_until
from fake_stripe import FakeStripe
from inbox import receiving
from listening import listening
from structlog.testing import capture_logs
from till import CREDITS, PRICE, Till

from service import chores, noticed, sealing, smtp, webhooks
from service.chores import Chores
from service.mail import Mailer
from service.repository import grants, holds, ledger, processes
from service.repository import webhooks as room
from service.repository.grants import Terms
from service.webhooks import Settings

SETTINGS = Settings((b"k" * 32,), True)


@pytest.fixture(autouse=True)
def nothing_noticed():
    """What other tests of this process have noticed is theirs."""
    noticed.take()


@pytest.fixture
def inbox():
    with receiving() as inbox:
        yield inbox


@pytest.fixture
def listener():
    """One that answers at once."""
    with listening() as listener:
        listener.go_on.set()
        yield listener


@pytest.fixture
def chore(db, clock):
    made = Chores(db, SETTINGS, clock=clock)
    yield made
    made.stop()


@pytest.fixture
def emptied(db, owner, new_license):
    """`emptied(email)`: a license that has told of its end to this address."""

    def make(email):
        license = new_license(credits=5)
        room.set_alerts(owner, license.id, email=email)
        ledger.deduct(db, license.key, uuid4(), amount=5)
        return license

    return make


@pytest.fixture
def grant(owner):
    """`grant(license, amount=100, expires_at=None)`: credits that an operator gives; the id of the grant."""

    def give(license, amount=100, **terms):
        grant_id = uuid4()
        grants.grant(
            owner, license.id, grant_id, amount=amount, terms=Terms(**terms), idempotency_key=None, fingerprint=b"g"
        )
        return grant_id

    return give


def deliver(chore):
    chore.step()
    chore.wait()


def told(lines):
    """The lines of chores, without those of whatever else runs in this process: (event, the chore or the state)."""
    return [
        (line["event"], line.get("chore") or line["state"])
        for line in lines
        if line["event"] in ("chore_failed", "event_delivery")
    ]


def received(listener):
    return [json.loads(body) for _, body in listener.received]


def test_what_was_noticed_is_told(chore, sql):
    noticed.upstream_refusal(401)
    chore.step()
    assert sql("SELECT type FROM obol.events") == [("upstream.refuses_us",)]


def test_mail_goes_to_the_license_s_address(db, clock, inbox, emptied, sql):
    mailer = Mailer(smtp.parse(f"smtp://127.0.0.1:{inbox.port}"), "billing@example.com")
    chore = Chores(db, SETTINGS, mailer=mailer, clock=clock)
    license = emptied("ada@example.com")
    deliver(chore)
    ((recipients, text),) = inbox.received
    assert recipients == ["ada@example.com"]
    assert "Subject: Your credits are used up" in text
    assert str(license.id) in text
    assert sql("SELECT state FROM obol.deliveries") == [("delivered",)]
    emptied("nobody@example.com")
    deliver(chore)
    assert sql("SELECT last_status FROM obol.deliveries WHERE state = 'failed'") == [(550,)]


def test_a_webhook_that_cannot_be_reached_is_failing(chore, owner, new_license, sql):
    made = webhooks.create(owner, SETTINGS, url="http://127.0.0.1:1/")
    new_license()
    with capture_logs() as lines:
        deliver(chore)
    assert [line["state"] for line in lines if line["event"] == "event_delivery"] == ["waiting"]
    assert webhooks.show(owner, made.webhook.webhook_id).status == "failing"


def test_one_chore_that_fails_keeps_no_other_from_being_done(flaky, clock, new_license, owner, sql):
    chore = Chores(flaky, SETTINGS, clock=clock)
    webhooks.create(owner, SETTINGS, url="http://127.0.0.1:1/")
    new_license()
    flaky.fail("due_expiring")
    with capture_logs() as lines:
        deliver(chore)
    assert told(lines) == [("chore_failed", "look"), ("event_delivery", "waiting")]
    assert sql("SELECT attempts FROM obol.deliveries") == [(1,)]


def test_where_nothing_is_due_nothing_is_said(chore):
    with capture_logs() as lines:
        deliver(chore)
    assert told(lines) == []


def test_what_nobody_calls_for_is_looked_for_once_a_minute(chore, clock, new_license, grant, sql):
    license = new_license()

    def expiring():
        grant_id = grant(license, expires_at=datetime.now(UTC) + timedelta(days=2))
        sql("UPDATE obol.grants SET starts_at = starts_at - interval '28 days' WHERE grant_id = %s", (str(grant_id),))
        return str(grant_id)

    def told_of():
        return sql("SELECT data ->> 'grant_id' FROM obol.events WHERE type = 'grant.expiring' ORDER BY event_no")

    first = expiring()
    chore.step()
    assert told_of() == [(first,)]
    second = expiring()
    clock.now += chores.LOOK_EVERY_S - 1
    chore.step()
    assert told_of() == [(first,)]
    clock.now += 1
    chore.step()
    assert told_of() == [(first,), (second,)]


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "its process died"])
def test_an_answer_that_did_not_arrive_is_told_of(chore, db, lease, open_hold, settle, new_license, sql, is_noticed):
    lease.beat()
    license, hold_id = new_license(), uuid4()
    open_hold(license, hold_id)
    settle(license, hold_id)
    if is_noticed:
        noticed.undelivered(license.id, hold_id)
    else:
        processes.heartbeat(db, lease.process_id, 0)
    chore.step()
    assert sql("SELECT data ->> 'hold_id' FROM obol.events WHERE type = 'answer.undelivered'") == [(str(hold_id),)]


def test_old_events_are_forgotten_every_ten_minutes(chore, clock, new_license, sql):
    def age():
        new_license()
        sql("UPDATE obol.events SET created_at = created_at - interval '31 days'")

    age()
    chore.step()
    assert sql("SELECT type FROM obol.events") == []
    age()
    clock.now += chores.PURGE_EVERY_S - 1
    chore.step()
    assert sql("SELECT type FROM obol.events") == [("grant.created",)]
    clock.now += 1
    chore.step()
    assert sql("SELECT type FROM obol.events") == []


def test_a_slow_webhook_leaves_room_for_others(chore, owner, new_license, sql):
    with listening() as slow, listening() as other:
        webhooks.create(owner, SETTINGS, url=slow.url)
        for _ in range(5):
            new_license()
        chore.step()
        wait_until(lambda: len(slow.received) == chores.AT_ONE_WEBHOOK, 60, "four at the slow one")
        chore.step()
        assert len(chore._on_the_way) == chores.AT_ONE_WEBHOOK

        webhooks.create(owner, SETTINGS, url=other.url)
        for _ in range(5):
            new_license()
        chore.step()
        wait_until(lambda: len(other.received) == chores.AT_ONE_WEBHOOK, 60, "four at the other one")
        chore.step()
        assert len(chore._on_the_way) == chores.THREADS
        assert len(slow.received) == len(other.received) == 4

        slow.go_on.set()
        other.go_on.set()
        chore.wait()
        for _ in range(2):
            deliver(chore)
    assert sql("SELECT state, attempts, count(*) FROM obol.deliveries GROUP BY 1, 2") == [("delivered", 1, 15)]
    assert len({event["data"]["license_id"] for event in received(slow)}) == len(slow.received) == 10
    assert len({event["data"]["license_id"] for event in received(other)}) == len(other.received) == 5


def test_webhooks_that_fail_have_one_on_its_way_each(chore, owner, new_license, sql):
    with listening() as slow, listening() as other:
        slow.go_on.set()
        slow.status = 500
        for _ in range(2):
            webhooks.create(owner, SETTINGS, url=slow.url)
        for _ in range(5):
            new_license()
        deliver(chore)
        slow.go_on.clear()
        sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp()")
        before = len(slow.received)
        for _ in range(4):
            chore.step()
        wait_until(lambda: len(slow.received) == before + 2, 60, "one at each of them")
        assert len(chore._on_the_way) == 2

        other.go_on.set()
        webhooks.create(owner, SETTINGS, url=other.url)
        license = new_license()
        chore.step()
        wait_until(lambda: other.received, 60, "the one that works")
        assert received(other)[0]["data"]["license_id"] == str(license.id)
        slow.go_on.set()
        chore.wait()


def test_an_event_for_which_no_thread_starts_is_delivered_later(chore, owner, new_license, listener, monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    webhooks.create(owner, SETTINGS, url=listener.url)
    new_license()
    with monkeypatch.context() as scarce, capture_logs() as lines:
        scarce.setattr("threading.Thread.start", refuse)
        chore.step()
        assert chore._on_the_way == set()
    assert "no_more_threads" in [line["event"] for line in lines]
    assert listener.received == []
    deliver(chore)
    assert len(listener.received) == 1


def test_what_is_owed_is_taken_once_it_is_free_again(chore, clock, db, owner, new_license):
    stripe = FakeStripe()
    till, license = Till(db, owner, stripe), new_license(credits=0)
    session_id, hold_id = till.begin(license), uuid4()
    till.send(license, stripe.completed(session_id))
    holds.open_for_client(db, license.key, hold_id, amount=CREDITS, expires_in_s=600)
    till.send(license, stripe.refunded(session_id, PRICE // 2))
    chore.step()
    holds.release(db, license.key, hold_id)
    chore.step()
    assert till.state(license) == (CREDITS, CREDITS // 2)
    clock.now += chores.TAKE_EVERY_S
    chore.step()
    assert till.state(license) == (CREDITS // 2, 0)
    stripe.stop()


def test_a_license_with_many_events_lets_others_have_their_turn(
    chore, owner, new_license, grant, listener, monkeypatch, sql
):
    monkeypatch.setattr(chores, "MOST_IN_A_ROW", 2)
    webhooks.create(owner, SETTINGS, url=listener.url)
    license = new_license(credits=1)
    grant(license, 2)
    grant(license, 3)
    deliver(chore)
    assert [event["data"]["amount"] for event in received(listener)] == [1, 2]
    deliver(chore)
    assert [event["data"]["amount"] for event in received(listener)] == [1, 2, 3]
    assert sql("SELECT DISTINCT state FROM obol.deliveries") == [("delivered",)]


def test_an_event_that_the_database_did_not_give_out_is_tried_again(flaky, clock, owner, new_license, listener):
    chore = Chores(flaky, SETTINGS, clock=clock)
    webhooks.create(owner, SETTINGS, url=listener.url)
    new_license()
    flaky.fail("claim_delivery")
    with capture_logs() as lines:
        deliver(chore)
    assert told(lines) == [("chore_failed", "deliver")]
    assert listener.received == []
    deliver(chore)
    assert [event["type"] for event in received(listener)] == ["grant.created"]


def test_a_bug_of_ours_is_an_attempt(chore, owner, new_license, monkeypatch, sql):
    """Or one event would be tried again and again, without the pauses between attempts and without an end."""

    def fail(*_):
        raise RuntimeError

    monkeypatch.setattr(webhooks, "send", fail)
    webhooks.create(owner, SETTINGS, url="https://example.com")
    new_license()
    for _ in range(2):
        deliver(chore)
    state = sql("SELECT state, attempts, last_error FROM obol.deliveries")
    assert state == [("waiting", 1, "RuntimeError in the service")]


def test_a_webhook_that_is_gone_is_paused(chore, owner, new_license, listener, sql):
    listener.status = 410
    made = webhooks.create(owner, SETTINGS, url=listener.url).webhook.webhook_id
    new_license()
    with capture_logs() as lines:
        deliver(chore)
    assert [line["webhook_id"] for line in lines if line["event"] == "webhook_paused"] == [str(made)]
    webhook = webhooks.show(owner, made)
    assert (webhook.status, webhook.paused_because, webhook.waiting) == ("paused", "gone", 1)


def test_a_webhook_that_answers_again_fails_no_more(chore, owner, new_license, listener, sql):
    listener.status = 500
    made = webhooks.create(owner, SETTINGS, url=listener.url).webhook.webhook_id
    new_license()
    deliver(chore)
    assert webhooks.show(owner, made).status == "failing"
    listener.status = 204
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp()")
    deliver(chore)
    webhook = webhooks.show(owner, made)
    assert (webhook.status, webhook.last_error, webhook.waiting) == ("active", None, 0)


def test_no_mail_goes_to_an_address_that_was_taken_away(db, clock, owner, inbox, emptied, sql):
    mailer = Mailer(smtp.parse(f"smtp://127.0.0.1:{inbox.port}"), "billing@example.com")
    room.set_alerts(owner, emptied("ada@example.com").id, email="")
    deliver(Chores(db, SETTINGS, mailer=mailer, clock=clock))
    assert inbox.received == []
    state = sql("SELECT state, last_error FROM obol.deliveries")
    assert state == [("failed", "the license has no address any more")]


def test_who_stops_begins_nothing_more(chore, owner, new_license, grant, sql):
    with listening() as listener:
        webhooks.create(owner, SETTINGS, url=listener.url)
        grant(new_license(credits=1), 2)
        chore.step()
        wait_until(lambda: listener.received, 60, "the first event on its way")
        chore.stop()
        listener.go_on.set()
        chore.wait()
    assert [event["data"]["amount"] for event in received(listener)] == [1]
    assert sql("SELECT state FROM obol.deliveries ORDER BY event_no") == [("delivered",), ("waiting",)]


def test_a_thread_of_its_own_begins_and_ends(chore, owner, new_license, sql):
    chore.start()
    chore.stop()
    assert chores.STOP_S < chores.CLAIM_S


def test_a_secret_is_stored_sealed(owner, sql):
    made = webhooks.create(owner, SETTINGS, url="http://127.0.0.1:1/")
    ((stored,),) = sql("SELECT secret FROM obol.webhooks WHERE kind = 'http'")
    assert made.secret.encode() not in bytes(stored)
    opened = sealing.unseal(SETTINGS.keys, bytes(stored), made.webhook.webhook_id.bytes)
    assert opened == made.secret.encode()


def test_the_business_is_counted_each_minute(chore, clock, new_license, sql):
    new_license()
    sql("UPDATE obol.licenses SET created_at = now() - interval '3 days'")
    chore.step()
    ((counted,),) = sql("SELECT count(*) FROM obol.business_rollups")
    assert counted > 3 * 144
    sql("DELETE FROM obol.business_rollups")
    chore.step()
    assert sql("SELECT count(*) FROM obol.business_rollups") == [(0,)]
    clock.now += chores.COUNT_EVERY_S
    chore.step()
    assert sql("SELECT count(*) > 3 * 144 FROM obol.business_rollups") == [(True,)]
