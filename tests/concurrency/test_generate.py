"""Many generations at once through gunicorn, with far fewer database connections than calls."""

import json
from concurrent.futures import ThreadPoolExecutor

PROMPT = json.dumps({"prompt": "[sandbox delay_ms=700] Hello", "max_tokens": 50}).encode()


def test_fifty_at_once_over_two_connections(serve, upstream, new_license, sql, verified):
    served = serve(OBOL_POOL_SIZE="2", OBOL_THREADS_PER_LICENSE="64")
    license = new_license(credits=100_000)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: served.post("/api/v1/generate", PROMPT, license.headers), range(50)))

    assert [status for status, _ in answers] == [200] * 50
    documents = [json.loads(body) for _, body in answers]
    for document in documents:
        usage = document["usage"]
        assert document["credits"]["charged"] == usage["input_tokens"] + usage["output_tokens"]
    used = sum(document["credits"]["charged"] for document in documents)
    assert sql("SELECT balance, held FROM obol.licenses") == [(100_000 - used, 0)]
    assert upstream.calls == 50
    verified()


def test_a_poor_license_never_pays_more_than_it_has(serve, upstream, new_license, sql, verified):
    served = serve()
    license = new_license(credits=400)

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: served.post("/api/v1/generate", PROMPT, license.headers), range(20)))

    paid = [json.loads(body)["credits"]["charged"] for status, body in answers if status == 200]
    refused = [json.loads(body)["code"] for status, body in answers if status != 200]
    assert paid
    assert set(refused) == {"insufficient_credits"}
    assert upstream.calls == len(paid)
    assert sql("SELECT balance, held FROM obol.licenses") == [(400 - sum(paid), 0)]
    verified()


def test_twins_of_a_keyed_call_make_one_charge(serve, upstream, new_license, sql, verified):
    served = serve()
    license = new_license(credits=10_000)
    headers = license.headers | {"Idempotency-Key": "twin"}

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: served.post("/api/v1/generate", PROMPT, headers), range(20)))
    first = next(body for status, body in answers if status == 200)
    codes = {json.loads(body)["code"] for status, body in answers if status != 200}

    assert codes <= {"idempotency_in_progress"}
    assert served.post("/api/v1/generate", PROMPT, headers) == (200, first)
    assert upstream.calls == 1
    assert sql("SELECT count(*) FROM obol.ledger_entries WHERE kind = 'charge'") == [(1,)]
    verified()
