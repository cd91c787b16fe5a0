"""kill -9 of PostgreSQL itself, in the middle of generations."""

import json
from concurrent.futures import ThreadPoolExecutor

from factories import run, wait_until

BODY = json.dumps({"prompt": "[sandbox delay_ms=1] Hello", "max_tokens": 50}).encode()


def test_answers_whose_settlement_meets_a_crash_are_each_charged_once(mortal, serve, pace, upstream):
    served = serve(DATABASE_URL=mortal.urls.service, OBOL_LEASE_S="30")

    with ThreadPoolExecutor(10) as pool:
        calls = [pool.submit(served.post, "/api/v1/generate", BODY, mortal.license.headers) for _ in range(10)]
        opened = "SELECT count(*) FROM obol.holds"
        wait_until(lambda: run(mortal.urls.owner, opened) == [(10,)], what="ten holds")
        mortal.kill()
        pace.go_on()
        wait_until(lambda: len(upstream.used) == 10, what="ten answers while the database is down")
        assert not any(call.done() for call in calls)
        mortal.start_again()
        answers = [call.result() for call in calls]

    assert [status for status, _ in answers] == [200] * 10
    charged = sum(json.loads(body)["credits"]["charged"] for _, body in answers)
    assert mortal.books() == (10_000 - charged, 0, 10)
    assert mortal.findings() == []
