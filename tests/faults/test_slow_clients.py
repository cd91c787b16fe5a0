"""Clients that read slowly, not at all, or half of a stream."""

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from factories import wait_until
from wire_client import Exchange, ask, name_of

MEBIBYTE = 1024 * 1024

# 14 MiB of events: far more than the system keeps for a connection, and than a worker may grow by.
LONG = 120_000

# What a stream that nobody reads may take of a worker's memory: its pieces, never the whole of it.
MOST_GROWTH = 12 * MEBIBYTE


def request(*directives, max_tokens=LONG, stream=True):
    prompt = " ".join(f"[sandbox {directive}]" for directive in ("input_tokens=20", *directives))
    document = {
        "model": "claude-sonnet-5-5",
        "max_tokens": max_tokens,
        "stream": stream,
        "messages": [{"role": "user", "content": prompt}],
    }
    return json.dumps(document).encode()


LONGEST = request(f"output_tokens={LONG}")
BRISK = request("output_tokens=3", max_tokens=50)


@pytest.fixture
def headers(new_license):
    return new_license(credits=2 * LONG).headers


@pytest.fixture
def others_headers(new_license):
    return new_license(credits=100_000).headers


def resident(pid):
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        pytest.skip("memory is measured where there is /proc")
    (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def settled(charges, expected, timeout_s=120):
    wait_until(lambda: len(charges()) == len(expected), timeout_s, "the settlement")
    assert sorted(charges()) == sorted(expected)


@pytest.mark.timeout(300)
def test_a_client_that_does_not_read_takes_no_memory_and_holds_up_nobody_else(
    serve, headers, others_headers, upstream, holds, charges, sql, verified
):
    served = serve()
    assert ask(served.port, BRISK, others_headers).whole
    (worker,) = served.workers()
    before = resident(worker)
    keyed = headers | {"Idempotency-Key": "k"}

    with Exchange(served.port, LONGEST, keyed, receive_buffer=4096) as exchange:
        assert exchange.response.status == 200
        growth = []
        # The upstream is read to its end meanwhile: a client does not set its pace.
        asked = 1
        while len(charges()) <= asked:
            assert ask(served.port, BRISK, others_headers).whole
            asked += 1
            growth.append(resident(worker) - before)
            time.sleep(0.2)
        settled(charges, [23] * asked + [20 + LONG])
        assert len(upstream.used) == asked + 1
        growth.append(resident(worker) - before)
        exchange.hang_up(reset=True)

    assert max(growth) < MOST_GROWTH
    again = ask(served.port, LONGEST, keyed)
    assert again.replayed
    assert again.whole
    assert again.events == LONG + 6
    assert sql("SELECT sum(held) FROM obol.licenses") == [(0,)]
    verified()


@pytest.fixture
def serve_impatiently(serve, tmp_path):
    """The server, but it gives a client up after two seconds and not after a minute."""
    folder = tmp_path / "impatient"
    folder.mkdir()
    (folder / "wsgi.py").write_text(
        "import os\nfrom service import create_app\nfrom service.config import load\n"
        "from service.http import connection\n"
        "connection.WRITE_STALL_S = connection.WRITE_GRACE_S = 2\napp = create_app(load(os.environ))\n"
    )
    return lambda: serve(GUNICORN_CMD_ARGS=f"--pythonpath={folder}")


# 2 MiB: the system keeps a quarter of one for a client.
LONG_ENOUGH = 20_000


@pytest.mark.parametrize("bytes_a_second", [0, 64], ids=["nothing", "a few bytes now and then"])
def test_a_client_that_takes_too_little_for_too_long_is_given_up_and_charged(
    serve_impatiently, headers, holds, charges, sql, verified, bytes_a_second
):
    """The upstream gives a stream up that is not read; then all that the client has read would be free."""
    served = serve_impatiently()

    with Exchange(served.port, request(f"output_tokens={LONG_ENOUGH}"), headers, receive_buffer=4096) as exchange:
        assert exchange.response.status == 200
        settled(charges, [20 + LONG_ENOUGH])
        # Nobody hangs up here.
        for _ in range(60):
            if sql("SELECT 1 FROM obol.undelivered_holds"):
                break
            if bytes_a_second:
                exchange.response.read1(bytes_a_second)
            time.sleep(1)
        assert sql("SELECT count(*) FROM obol.undelivered_holds") == [(1,)]

    assert holds() == ["settled"]
    verified()


@pytest.mark.parametrize(("stream", "tokens"), [(False, 1_000_000), (True, 40_000)], ids=["JSON", "stream"])
def test_a_client_that_always_takes_something_gets_all_however_long_it_takes(
    stream, tokens, serve_impatiently, new_license, charges, verified
):
    served = serve_impatiently()
    headers = new_license(credits=2_000_000).headers
    body = request(f"output_tokens={tokens}", max_tokens=tokens, stream=stream)
    began_at = time.monotonic()

    with Exchange(served.port, body, headers, receive_buffer=4096) as exchange:
        length = 0
        for piece in exchange.pieces():
            length += len(piece)
            time.sleep(0.00065 * len(piece) / 1024)  # 1.5 MiB a second at most

    assert time.monotonic() - began_at > 2, "longer than the limit"
    assert length > tokens * 5
    settled(charges, [20 + tokens])
    verified()


def test_clients_that_leave_in_the_middle_give_their_threads_back(
    serve, pace, headers, others_headers, holds, charges, verified
):
    served = serve(OBOL_THREADS="4", OBOL_THREADS_PER_LICENSE="4")
    slow = request("output_tokens=20", "event_delay_ms=1", max_tokens=50)
    for reset in (True, False, True):
        exchange = Exchange(served.port, slow, headers)
        # It waits before the second one.
        assert name_of(next(exchange.events())) == "message_start"
        exchange.hang_up(reset)

    # Three of four threads read their streams to the end; the fourth is there for others.
    assert ask(served.port, BRISK, others_headers).whole
    assert holds() == ["held"] * 3 + ["settled"]
    pace.go_on()
    settled(charges, [23] + [40] * 3)

    # Four at once again: all threads are back.
    pace.hold()
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(ask, served.port, slow, others_headers) for _ in range(4)]
        wait_until(lambda: holds().count("held") == 4, what="four calls at once")
        pace.go_on()
        assert all(call.result().whole for call in calls)
    verified()
