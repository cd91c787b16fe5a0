"""What a process does beside the calls: it tells, it delivers, and what fails keeps nothing else from being done."""

from uuid import uuid4

import pytest
from aiosmtpd.controller import Controller
from factories import free_port
from structlog.testing import capture_logs

from service import chores, noticed, sealing, smtp, webhooks
from service.chores import Chores
from service.mail import Mailer
from service.repository import ledger
from service.repository import webhooks as room
from service.webhooks import Settings

SETTINGS = Settings((b"k" * 32,), True)


class Inbox:
    """A mail server's handler: it keeps what comes, and refuses who is not here."""

    def __init__(self):
        self.received = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 (the library's name)
        if address.startswith("nobody@"):
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 (the library's name)
        self.received.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@pytest.fixture
def inbox():
    handler = Inbox()
    handler.port = free_port()
    controller = Controller(handler, hostname="127.0.0.1", port=handler.port)
    controller.start()
    yield handler
    controller.stop()


@pytest.fixture
def chore(db, clock):
    noticed.take()
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


def deliver(chore):
    chore.step()
    chore.wait()


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


def test_one_chore_that_fails_keeps_no_other_from_being_done(flaky, clock, new_license, owner):
    chore = Chores(flaky, SETTINGS, clock=clock)
    webhooks.create(owner, SETTINGS, url="http://127.0.0.1:1/")
    new_license()
    flaky.fail("due_expiring")
    with capture_logs() as lines:
        deliver(chore)
    assert [line["event"] for line in lines] == ["chore_failed", "event_delivery"]


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
