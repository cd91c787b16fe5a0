"""Events as they stand in the table, webhooks without a listener, and deliveries that somebody has in hand."""

from uuid import uuid4

import pytest

from service.repository import webhooks
from service.repository.webhooks import Attempt, DueDelivery

EVENTS = "SELECT type, data FROM obol.events WHERE license_id = %s ORDER BY event_no"


@pytest.fixture
def told(sql):
    """`told(license)`: the events of a license, but for its opening grant, as (type, data without what all have)."""

    def read(license):
        events = [(type, data) for type, data in sql(EVENTS, (str(license.id),)) if type != "grant.created"]
        assert all(data.pop("license_id") == str(license.id) for _, data in events)
        assert all(data.pop("external_id") is None for _, data in events)
        return events

    return read


@pytest.fixture
def new_webhook(owner):
    """`new_webhook(types=None)`: the id of a webhook."""

    def make(types=None):
        webhook_id = uuid4()
        webhooks.create(owner, webhook_id, url="https://example.com", name="a", types=types, secret=b"sealed")
        return webhook_id

    return make


@pytest.fixture
def due(db):
    """`due()`: what can be delivered now."""
    return lambda most=10, with_email=False: webhooks.due_deliveries(db, most, with_email=with_email)


@pytest.fixture
def claim(db):
    """`claim(license, webhook_id, claim_id)`: the event that is to be delivered, or None."""

    def take(license, webhook_id, claim_id=None, lease_s=60):
        return webhooks.claim(db, DueDelivery(license.id, webhook_id), claim_id or uuid4(), lease_s=lease_s)

    return take


@pytest.fixture
def attempt(db, claim):
    """`attempt(license, webhook_id, error=None)`: one attempt; the type of the event, and the state after it."""

    def deliver(license, webhook_id, **said):
        claim_id = uuid4()
        claimed = claim(license, webhook_id, claim_id)
        due = DueDelivery(license.id, webhook_id)
        return claimed.type, webhooks.end(db, due, claim_id, attempt=Attempt(**said))

    return deliver
