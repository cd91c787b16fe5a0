"""kill -9 of PgBouncer in the middle of calls, and its return: whoever was cut off asks again with the same id."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from factories import wait_until
from pooler import PgBouncer, needs_pgbouncer

pytestmark = needs_pgbouncer

CALLERS, CALLS, KILLS = 8, 30, 3
DEDUCTION = json.dumps({"amount": 3}).encode()
GENERATION = json.dumps({"prompt": "[sandbox delay_ms=20] Hello", "max_tokens": 50}).encode()


@pytest.fixture
def mortal_pooler(server_urls):
    pooler = PgBouncer(server_urls)
    yield pooler
    pooler.stop()


def test_calls_that_are_cut_off_are_each_charged_once(mortal_pooler, urls, serve, new_license, sql, verified):
    served = serve(DATABASE_URL=mortal_pooler.through(urls).service, OBOL_LEASE_S="30")
    licenses = [new_license(credits=1_000_000) for _ in range(CALLERS)]
    answers, done = [], threading.Semaphore(0)

    def ask(license):
        for n in range(CALLS):
            path, body = ("/api/v1/generate", GENERATION) if n % 3 == 0 else ("/api/v1/deductions", DEDUCTION)
            headers = license.headers | {"Idempotency-Key": f"call-{n}"}

            def answered(path=path, body=body, headers=headers):
                status, answer = served.post(path, body, headers)
                # What is refused meanwhile says so, and may be asked again: that is what a client does.
                assert status in (200, 409, 500, 503), answer
                return answer if status == 200 else None

            answers.append((license.id, json.loads(wait_until(answered, 60, "an answer"))))
            done.release()

    with ThreadPoolExecutor(CALLERS) as pool:
        running = [pool.submit(ask, license) for license in licenses]
        for _ in range(KILLS):
            for _ in range(CALLERS * CALLS // (KILLS + 2)):
                assert done.acquire(timeout=20), running
            mortal_pooler.kill()
            mortal_pooler.start()
        for caller in running:
            caller.result()

    assert len(answers) == CALLERS * CALLS
    for license in licenses:
        mine = [answer for owner, answer in answers if owner == license.id]
        taken = sum(answer["credits"]["charged"] if "credits" in answer else answer["amount"] for answer in mine)
        found = sql("SELECT balance, held FROM obol.licenses WHERE license_id = %s", (str(license.id),))
        assert found == [(1_000_000 - taken, 0)]
    booked = "SELECT count(*) FROM obol.ledger_entries WHERE kind IN ('charge', 'deduction')"
    assert sql(booked) == [(CALLERS * CALLS,)]
    verified()
