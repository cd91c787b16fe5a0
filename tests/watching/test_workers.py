"""/metrics under gunicorn, over several workers and across their deaths."""

import json
import os
import random
import signal
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from factories import wait_until
from scraping import parse, total

CALLS = 1000
AT_ONCE = 8

DEDUCTIONS, GENERATE, LICENSE = "/api/v1/deductions", "/api/v1/generate", "/api/v1/license"


@pytest.fixture
def metrics_dir():
    """A folder for the folders of masters, short-lived and of this test alone."""
    with tempfile.TemporaryDirectory(prefix="obol-tests-") as folder:
        yield Path(folder)


def counted(served):
    """Requests by what they came to, those for /metrics and /readyz aside."""
    requests = parse(served.get("/metrics")[1]).get("obol_requests_total", {})
    found = Counter()
    for labels, value in requests.items():
        told = dict(labels)
        if told["route"] not in ("/metrics", "/readyz"):
            found[told["route"], told["status"], told["code"]] += value
    return found


def test_a_thousand_calls_over_two_workers_one_of_which_is_killed(serve, new_license, sql, metrics_dir):
    served = serve(WEB_CONCURRENCY="2", OBOL_METRICS_DIR=str(metrics_dir))
    wait_until(lambda: len(served.workers()) == 2, what="two workers")
    rich, poor = new_license(credits=1_000_000), new_license(credits=1)
    kinds = {
        "deduct": (DEDUCTIONS, {"amount": 3}, rich, ("200", "")),
        "refused": (DEDUCTIONS, {"amount": 3}, poor, ("402", "insufficient_credits")),
        "wrong": (DEDUCTIONS, {"amount": "x"}, rich, ("422", "validation_failed")),
        "generate": (GENERATE, {"prompt": "Hello"}, rich, ("200", "")),
        "stream": (GENERATE, {"prompt": "Hello", "stream": True}, rich, ("200", "")),
        "failed": (GENERATE, {"prompt": "[sandbox status=529]"}, rich, ("502", "upstream_error")),
    }
    drawn = random.Random(7).choices(list(kinds), weights=[70, 8, 5, 8, 5, 4], k=CALLS)
    made = Counter()

    def call(kind):
        path, body, license, _ = kinds[kind]
        return kind, served.post(path, json.dumps(body).encode(), license.headers)[0]

    def make(some):
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for kind, status in pool.map(call, some):
                path, _, _, (expected, code) = kinds[kind]
                assert str(status) == expected
                made[path, expected, code] += 1
        # What is counted is counted once its answer has been written.
        wait_until(lambda: counted(served) == made, what=f"{sum(made.values())} counted calls")

    make(drawn[: CALLS // 2])
    killed = served.workers()[0]
    assert parse(served.get("/metrics")[1])["obol_threads_busy"] == {(): 1}
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(served.workers()) == 2 and killed not in served.workers(), what="a new worker")
    (shared,) = metrics_dir.glob("obol-metrics-*")
    wait_until(lambda: not list(shared.glob(f"gauge_live*_{killed}.db")), what="the dead worker's gauges gone")
    # Its counters are there.
    assert list(shared.glob(f"counter_{killed}.db"))
    assert counted(served) == made
    make(drawn[CALLS // 2 :])

    assert sum(made.values()) == CALLS
    figures = parse(served.get("/metrics")[1])
    booked = dict(sql("SELECT kind, -sum(amount)::bigint FROM obol.ledger_entries WHERE kind <> 'grant' GROUP BY kind"))
    assert total(figures, "obol_credits_total", kind="deduction") == booked["deduction"] == 3 * drawn.count("deduct")
    assert total(figures, "obol_credits_total", kind="charge") == booked["charge"]
    answered = drawn.count("generate") + drawn.count("stream")
    assert total(figures, "obol_upstream_seconds_count", outcome="answered") == answered
    assert total(figures, "obol_settle_seconds_count") == answered
    assert total(figures, "obol_upstream_errors_total", status="529") == drawn.count("failed")
    assert total(figures, "obol_request_seconds_count", route=DEDUCTIONS) == sum(
        count for (route, _, _), count in made.items() if route == DEDUCTIONS
    )
    assert total(figures, "obol_undelivered_total") == 0
    assert total(figures, "obol_streams_open") == total(figures, "obol_holds_open") == 0
    assert 0 <= total(figures, "obol_lease_age_seconds") < 30


def test_what_is_in_hand_is_told_by_whichever_worker_is_asked(serve, pace, new_license, holds_open, metrics_dir):
    served = serve(WEB_CONCURRENCY="2", OBOL_METRICS_DIR=str(metrics_dir))
    license = new_license(credits=10_000)
    body = json.dumps({"prompt": "[sandbox delay_ms=1] Hello"}).encode()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(served.post, GENERATE, body, license.headers) for _ in range(4)]
        wait_until(lambda: holds_open() == 4, what="four open holds")
        figures = parse(served.get("/metrics")[1])
        pace.go_on()
        assert [call.result()[0] for call in calls] == [200] * 4

    assert total(figures, "obol_holds_open") == 4
    assert total(figures, "obol_threads_busy") == 5
    assert 0 < total(figures, "obol_hold_oldest_seconds") < 60
    wait_until(lambda: total(parse(served.get("/metrics")[1]), "obol_holds_open") == 0)


@pytest.fixture
def holds_open(sql):
    return lambda: sql("SELECT count(*) FROM obol.holds WHERE state = 'held'")[0][0]


def test_a_master_ends_with_its_folder_and_removes_what_a_killed_one_left(serve, metrics_dir):
    first = serve(OBOL_METRICS_DIR=str(metrics_dir))
    (left,) = metrics_dir.glob("*")
    first.kill_everything()
    assert left.exists()
    os.utime(left, (0, 0))
    (metrics_dir / "obol-metrics-file").touch()

    second = serve(OBOL_METRICS_DIR=str(metrics_dir))
    (own,) = [path for path in metrics_dir.glob("*") if path.is_dir()]
    assert own != left
    assert counted(second) == {}
    # A folder in use stays, however old it looks.
    os.utime(own, (0, 0))
    third = serve(OBOL_METRICS_DIR=str(metrics_dir))
    assert own.exists()

    for served in (second, third):
        served.process.terminate()
        served.process.wait(20)
    assert [path.name for path in metrics_dir.glob("*")] == ["obol-metrics-file"]
