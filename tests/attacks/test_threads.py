"""One license that asks for all threads."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from factories import wait_until
from wire_client import Exchange

from service import keys

ENVIRON = {"WEB_CONCURRENCY": "2", "OBOL_THREADS": "64"}

# More than two workers of 64 threads have.
MANY = 150

# Who finds the share of its license taken, and, where that takes the worker long to say, no thread to be told so.
REFUSED = {429, 503}


def message(directives, **fields):
    message = {"role": "user", "content": f"[sandbox {directives}]"}
    return json.dumps({"model": "m", "max_tokens": 50, "messages": [message], **fields}).encode()


@pytest.fixture
def statuses(served):
    """`statuses(body, headers, path)`: the statuses so far of so many calls at once, and of all in the end."""
    answers = []
    with ThreadPoolExecutor(MANY) as pool:

        def ask(body, headers, path):
            for _ in range(MANY):
                future = pool.submit(served.request, "POST" if body else "GET", path, body, headers)
                future.add_done_callback(lambda done: answers.append(done.result()[0]))
            return answers

        yield ask


def test_slow_calls_have_half_of_the_threads(bystander, statuses, new_license):
    headers = new_license(credits=1_000_000).headers | {"Content-Type": "application/json"}

    answers = statuses(message("delay_ms=60000"), headers, "/v1/messages")

    # Half of the threads wait for the model; who finds none is told so at once.
    wait_until(lambda: len(answers) >= MANY - 64)
    assert 429 in set(answers) <= REFUSED
    bystander.is_well()
    bystander.end()
    wait_until(lambda: len(answers) == MANY)
    assert set(answers) <= {200} | REFUSED
    assert answers.count(200) <= 64


def test_readers_of_a_replay_that_read_nothing_have_half_of_the_threads(bystander, served, new_license):
    headers = new_license(credits=1_000_000).headers | {"Idempotency-Key": "k"}
    long = message("output_tokens=40000", max_tokens=50_000, stream=True)
    with Exchange(served.port, long, headers) as first:
        assert sum(1 for _ in first.events()) > 40_000

    readers = [Exchange(served.port, long, headers, receive_buffer=4096) for _ in range(MANY)]

    for _ in range(5):
        bystander.is_well()
    # Who has no thread is refused and knows it at once, and the others have read no more than a header.
    assert sum(reader.response.status in REFUSED for reader in readers) >= MANY - 64
    for reader in readers:
        reader.hang_up(reset=True)
    bystander.is_well()


def test_forged_keys_do_not_shut_out_the_license_that_they_name(bystander, served, statuses, new_license):
    victim = new_license(credits=1000)
    forged = {"x-api-key": keys.make(victim.id).license_key}

    answers = statuses(None, forged, "/api/v1/license")

    for _ in range(5):
        assert served.get("/api/v1/license", victim.headers)[0] == 200
        bystander.is_well()
    wait_until(lambda: len(answers) == MANY)
    assert set(answers) <= {403} | REFUSED
