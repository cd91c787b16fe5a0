"""kill -9 between a charge and the delivery of its event."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
import standardwebhooks
from factories import wait_until
from listening import listening

from service import webhooks
from service.webhooks import Settings

KEYS = Settings((b"k" * 32,), True)
ENVIRON = {"OBOL_WEBHOOK_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s", "OBOL_WEBHOOK_ALLOW_PRIVATE": "1"}


@pytest.fixture
def listener():
    with listening() as listener:
        yield listener


def test_an_event_whose_worker_is_killed_is_delivered_after_the_restart(
    serve, owner, new_license, listener, sql, verified
):
    """The worker dies with the event in hand; who checks ids has it once."""
    served = serve(**ENVIRON)
    made = webhooks.create(owner, KEYS, url=listener.url, types=["license.exhausted"])
    license = new_license(credits=5)
    body = json.dumps({"amount": 5}).encode()
    assert served.post("/api/v1/deductions", body, license.headers)[0] == 200
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
        assert checker.verify(sent, headers)["data"] == {
            "license_id": str(license.id), "external_id": None, "balance": 0,
        }  # fmt: skip
    assert sql("SELECT count(*) FROM obol.events WHERE type = 'license.exhausted'") == [(1,)]
    verified()


def test_a_worker_that_is_killed_before_it_looks_has_written_the_event(serve, owner, new_license, listener, sql):
    listener.go_on.set()
    served = serve(**ENVIRON)
    webhooks.create(owner, KEYS, url=listener.url, types=["license.exhausted"])
    license = new_license(credits=5)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(served.try_post, "/api/v1/deductions", b'{"amount": 5}', license.headers)
        wait_until(lambda: sql("SELECT balance FROM obol.licenses") == [(0,)], 60, "the charge")
        served.kill_everything()
        call.result()
    serve(**ENVIRON)
    sql("UPDATE obol.delivery_queues SET next_attempt_at = clock_timestamp() WHERE next_attempt_at IS NOT NULL")
    wait_until(lambda: sql("SELECT state FROM obol.deliveries") == [("delivered",)], 60, "the delivery")
    assert len({headers["webhook-id"] for headers, _ in listener.received}) == 1
