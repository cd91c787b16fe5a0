"""kill -9 between a charge, of a deduction or of an answer of the model, and the delivery of its event."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
import standardwebhooks
from factories import wait_until
from listening import listening

from service import webhooks
from service.repository import webhooks as alerts
from service.webhooks import Settings

KEYS = Settings((b"k" * 32,), True)
ENVIRON = {"OBOL_WEBHOOK_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s", "OBOL_WEBHOOK_ALLOW_PRIVATE": "1"}


@pytest.fixture
def listener():
    with listening() as listener:
        yield listener


class Call(NamedTuple):
    """A call that charges so much that an event is written: its path and body, the event, and what is left then."""

    path: str
    body: bytes
    event: str
    left: int


CREDITS = 1000
# Of an answer of the model the charge is known when it is there.
MESSAGE = {
    "model": "m",
    "max_tokens": 100,
    "messages": [{"role": "user", "content": "[sandbox input_tokens=30] [sandbox output_tokens=20]"}],
}
CALLS = {
    "deduction": Call("/api/v1/deductions", json.dumps({"amount": CREDITS}).encode(), "license.exhausted", 0),
    "answer": Call("/v1/messages", json.dumps(MESSAGE).encode(), "license.low_balance", CREDITS - 50),
    "stream": Call(
        "/v1/messages", json.dumps(MESSAGE | {"stream": True}).encode(), "license.low_balance", CREDITS - 50
    ),
}


@pytest.fixture(params=CALLS)
def call(request):
    return CALLS[request.param]


@pytest.fixture
def license(owner, new_license):
    """It is told of 960 credits or less, and then of none."""
    license = new_license(credits=CREDITS)
    alerts.set_alerts(owner, license.id, alerts={"credits": [960]})
    return license


def test_an_event_whose_worker_is_killed_is_delivered_after_the_restart(
    serve, owner, license, listener, sql, verified, call
):
    """The worker dies with the event in hand; who checks ids has it once."""
    served = serve(**ENVIRON)
    made = webhooks.create(owner, KEYS, url=listener.url, types=[call.event])
    assert served.post(call.path, call.body, license.headers)[0] == 200
    wait_until(lambda: listener.received, 60, "the event on its way")
    assert sql("SELECT state FROM obol.deliveries") == [("waiting",)]
    (worker,) = served.workers()
    os.kill(worker, signal.SIGKILL)
    listener.go_on.set()
    # The claim of the dead one lapses after two minutes; here, at once.
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp()")
    wait_until(lambda: sql("SELECT state FROM obol.deliveries") == [("delivered",)], 60, "the delivery")

    assert len({headers["webhook-id"] for headers, _ in listener.received}) == 1
    checker = standardwebhooks.Webhook(made.secret)
    for headers, sent in listener.received:
        told = checker.verify(sent, headers)
        assert (told["type"], told["data"]["license_id"]) == (call.event, str(license.id))
        assert told["data"]["balance"] == call.left
    assert sql("SELECT count(*) FROM obol.events WHERE type = %s", (call.event,)) == [(1,)]
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE amount < 0") == [(1,)]
    verified()


def test_a_worker_that_is_killed_before_it_looks_has_written_the_event(
    serve, owner, license, listener, sql, verified, call
):
    listener.go_on.set()
    served = serve(**ENVIRON)
    webhooks.create(owner, KEYS, url=listener.url, types=[call.event])
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(served.try_post, call.path, call.body, license.headers)
        wait_until(lambda: sql("SELECT balance FROM obol.licenses") == [(call.left,)], 60, "the charge")
        served.kill_everything()
        answer.result()
    assert sql("SELECT count(*) FROM obol.events WHERE type = %s", (call.event,)) == [(1,)]
    serve(**ENVIRON)
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL")
    wait_until(lambda: sql("SELECT state FROM obol.deliveries") == [("delivered",)], 60, "the delivery")
    assert len({headers["webhook-id"] for headers, _ in listener.received}) == 1
    verified()
