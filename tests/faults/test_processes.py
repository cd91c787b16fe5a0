"""kill -9, SIGSTOP and SIGTERM of serving processes in the middle of generations."""

import json
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from factories import ROOT, free_port, wait_until

PATH = "/api/v1/generate"
# How long it takes is the pace's business.
BODY = json.dumps({"prompt": "[sandbox delay_ms=1] Hello", "max_tokens": 50}).encode()


def test_kill_9_of_a_worker_during_twenty_generations(serve, pace, new_license, sql, holds, charges, verified):
    served = serve()
    license = new_license(credits=100_000)

    with ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(served.try_post, PATH, BODY, license.headers) for _ in range(20)]
        wait_until(lambda: holds() == ["held"] * 20, what="twenty open holds")
        (worker,) = served.workers()
        os.kill(worker, signal.SIGKILL)
        assert [call.result() for call in calls] == [None] * 20

    # The master starts another worker; its heartbeat gives back what the dead one left.
    wait_until(lambda: holds() == ["expired"] * 20, 60, "the holds of the dead worker given back")
    assert sql("SELECT balance, held FROM obol.licenses") == [(100_000, 0)]
    assert charges() == []
    verified()
    pace.go_on()
    assert served.try_post(PATH, BODY, license.headers)[0] == 200


def test_kill_9_of_everything_and_a_new_start(serve, pace, new_license, sql, holds, verified):
    served = serve()
    license = new_license(credits=100_000)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(served.try_post, PATH, BODY, license.headers) for _ in range(5)]
        wait_until(lambda: holds() == ["held"] * 5, what="five open holds")
        served.kill_everything()
        assert [call.result() for call in calls] == [None] * 5
    assert sql("SELECT balance, held > 0 FROM obol.licenses") == [(100_000, True)]

    serve()

    wait_until(lambda: holds() == ["expired"] * 5, what="the holds given back")
    assert sql("SELECT balance, held FROM obol.licenses") == [(100_000, 0)]
    verified()


@pytest.fixture
def stopped(serve, pace, new_license, holds):
    """A keyed call in the middle of which its processes were stopped past their lease, another
    server that took the hold away meanwhile, and what to do to wake them."""
    first, second = serve(), serve()
    license = new_license(credits=10_000)
    headers = license.headers | {"Idempotency-Key": "stopped"}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(first.try_post, PATH, BODY, headers)
        wait_until(lambda: holds() == ["held"], what="an open hold")
        for worker in first.workers():
            os.kill(worker, signal.SIGSTOP)
        wait_until(lambda: holds() == ["expired"], what="the hold taken from the stopped process")
        # The answer waits for the process to wake up.
        pace.go_on()

        def wake():
            for worker in first.workers():
                os.kill(worker, signal.SIGCONT)
            return call.result()

        yield wake, second, headers
        wake()


def test_a_stopped_process_that_wakes_after_a_retry_delivers_nothing(stopped, upstream, charges, holds, verified):
    wake, second, headers = stopped
    status, retried = second.try_post(PATH, BODY, headers)
    assert status == 200

    status, late = wake()

    assert status == 500
    assert json.loads(late)["code"] == "database_error"
    assert b"sandbox/" not in late
    assert upstream.calls == 2
    assert len(charges()) == 1
    assert second.try_post(PATH, BODY, headers) == (200, retried)
    wait_until(lambda: holds() == ["released", "settled"], what="the late hold closed for good")
    verified()


def test_a_stopped_process_that_wakes_first_is_paid_and_its_answer_replayed(stopped, upstream, charges, verified):
    wake, second, headers = stopped

    status, answer = wake()

    assert status == 200
    assert second.try_post(PATH, BODY, headers) == (200, answer)
    assert upstream.calls == 1
    assert len(charges()) == 1
    verified()


def test_a_stopped_process_whose_license_was_emptied_meanwhile_delivers_nothing(stopped, charges, sql, verified):
    wake, second, headers = stopped
    emptied = json.dumps({"amount": 10_000}).encode()
    assert second.post("/api/v1/deductions", emptied, {"Authorization": headers["Authorization"]})[0] == 200

    status, late = wake()

    assert status == 500
    assert b"sandbox/" not in late
    assert charges() == []
    assert sql("SELECT balance, held FROM obol.licenses") == [(0, 0)]
    verified()


def test_sigterm_lets_running_answers_finish(serve, pace, terminate, new_license, holds, charges, sql, verified):
    served = serve()
    license = new_license(credits=10_000)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(served.try_post, PATH, BODY, license.headers) for _ in range(5)]
        wait_until(lambda: holds() == ["held"] * 5, what="five open holds")
        terminate(served)
        pace.go_on()
        assert [call.result()[0] for call in calls] == [200] * 5

    assert served.process.wait(60) == 0
    assert len(charges()) == 5
    # The last heartbeat noted the deliveries, and ended the lease.
    assert sql("SELECT count(*) FROM obol.undelivered_holds") == [(0,)]
    assert sql("SELECT count(*) FROM obol.processes WHERE lease_expires_at > clock_timestamp()") == [(0,)]
    verified()


def test_a_worker_that_cannot_start_ends_the_master(environ):
    gunicorn = Path(sys.executable).parent / "gunicorn"
    # With two that cannot start, gunicorn trips over the second one and ends with another code.
    own = {"PORT": str(free_port()), "WEB_CONCURRENCY": "1"}
    ended = subprocess.run([gunicorn, "wsgi:no_such_app"], cwd=ROOT, env={**os.environ, **environ, **own}, timeout=90)

    assert ended.returncode in (3, 4)
