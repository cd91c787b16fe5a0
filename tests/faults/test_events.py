"""kill -9 between a charge and the delivery of its event."""

import json
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import standardwebhooks
from factories import wait_until

from service import webhooks
from service.webhooks import Settings

KEYS = Settings((b"k" * 32,), True)
ENVIRON = {"OBOL_WEBHOOK_KEYS": "a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2s", "OBOL_WEBHOOK_ALLOW_PRIVATE": "1"}


@pytest.fixture
def listener():
    """An endpoint that answers when `go_on` is set; `received` is what came, as (headers, body)."""
    received, go_on = [], threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((dict(self.headers), body))
            go_on.wait(60)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    server.received, server.go_on = received, go_on
    server.url = f"http://127.0.0.1:{server.server_address[1]}/events"
    yield server
    go_on.set()
    server.shutdown()
    server.server_close()


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
