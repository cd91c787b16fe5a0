"""What a stream costs more through Obol than from its upstream: run it alone on a machine.

    .venv/bin/python bench/stream_overhead.py [STREAMS] [TOKENS]

It starts a PostgreSQL, a sandbox and gunicorn of its own, each in its own process, and asks both in
turn. The ratios are of medians of the same run: they can be compared between machines, the times
cannot. It takes about half a minute.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import anthropic
import httpx2

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from factories import Served, make_license  # noqa: E402

from service import migrations  # noqa: E402
from service.db import Database  # noqa: E402
from service.dev.embedded import EmbeddedPostgres  # noqa: E402
from service.gateway.message import Message  # noqa: E402
from service.gateway.streams import AnswerStream  # noqa: E402
from service.gateway.transcript import Transcript  # noqa: E402
from service.gateway.upstream import Upstream  # noqa: E402

STREAMS, TOKENS = 20, 2000
WARM_UP = 3

# Nothing in it but the sandbox: in this process it would share a core with the clock.
SANDBOX = "from service.dev import sandbox; s = sandbox.start(); print(s.url, flush=True); input()"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


class Timing(NamedTuple):
    """Seconds until the first event and until the end."""

    first_s: float
    total_s: float


def request(tokens: int) -> bytes:
    prompt = f"[sandbox input_tokens=20] [sandbox output_tokens={tokens}] Hello"
    document = {"model": "claude-sonnet-5-5", "max_tokens": tokens, "stream": True}
    return json.dumps(document | {"messages": [{"role": "user", "content": prompt}]}).encode()


def ask(url: str, body: bytes, headers: dict[str, str]) -> tuple[Timing, bytes]:
    connection = HTTPConnection(url.removeprefix("http://"), timeout=60)
    began_at = time.perf_counter()
    connection.request("POST", "/v1/messages", body, {"Content-Type": "application/json", **headers})
    response = connection.getresponse()
    assert response.status == 200, response.read()
    pieces = [response.read1(65536)]
    first_s = time.perf_counter() - began_at
    while piece := response.read1(65536):
        pieces.append(piece)
    total_s = time.perf_counter() - began_at
    connection.close()
    answer = b"".join(pieces)
    assert b"event: message_stop" in answer
    return Timing(first_s, total_s), answer


def cpu_s(pid: int) -> float:
    """CPU that a process has used, by /proc; NaN where there is none."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.exists():
        return float("nan")
    fields = stat.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def over_the_wire(streams: int, tokens: int) -> None:
    """Time to the first event and in all, through Obol and without it, in turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="obol-bench-")))
        folder.chmod(0o755)  # the server runs as another user when this runs as root
        postgres = EmbeddedPostgres(folder / "data")
        urls = postgres.acquire()
        stack.callback(postgres.release)
        migrations.upgrade(urls.owner)
        owner = Database(urls.owner, pool_size=1, wait_s=5)
        stack.callback(owner.close)
        license = make_license(owner, credits=(tokens + 1000) * (streams + WARM_UP) * 2)
        sandbox = subprocess.Popen(
            [sys.executable, "-c", SANDBOX], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.enter_context(sandbox)
        stack.callback(sandbox.terminate)
        assert sandbox.stdout is not None
        sandbox_url = sandbox.stdout.readline().strip()
        environment = {
            "DATABASE_URL": urls.service,
            "OBOL_MIGRATE_URL": urls.owner,
            "ANTHROPIC_API_KEY": "bench",
            "ANTHROPIC_BASE_URL": sandbox_url,
            "OBOL_REPLAY_KEYS": "A" * 43,
        }
        served = Served(environment, folder / "served.log")
        stack.callback(served.stop)
        served.wait_until_ready()

        body = request(tokens)
        direct, through = [], []
        used_s = 0.0
        for number in range(streams + WARM_UP):
            keyed = license.headers | {"Idempotency-Key": f"bench-{number}"}
            alone, _ = ask(sandbox_url, body, {"x-api-key": "k"})
            (worker,) = served.workers()
            before_s = cpu_s(worker)
            with_obol, _ = ask(served.url, body, keyed)
            if number >= WARM_UP:
                used_s += cpu_s(worker) - before_s
                direct.append(alone)
                through.append(with_obol)
    for name, field in (("first event", "first_s"), ("whole stream", "total_s")):
        alone_ms, obol_ms = (1000 * statistics.median(getattr(t, field) for t in ts) for ts in (direct, through))
        say(f"{name:34} {obol_ms:8.2f} ms, sandbox alone {alone_ms:8.2f} ms: {obol_ms / alone_ms:5.2f} times")
    events = (tokens + 6) * streams
    say(f"{'CPU of the worker for an event':34} {1e6 * used_s / events:8.2f} µs, writing it out included")


class Pieces(httpx2.SyncByteStream):
    """A recorded stream, an event at a time."""

    def __init__(self, pieces: list[bytes]) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


def recorded(pieces: list[bytes]) -> anthropic.Anthropic:
    """A client of an upstream that sends these pieces."""
    headers = {"content-type": "text/event-stream"}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, headers=headers, stream=Pieces(pieces)))
    return anthropic.Anthropic(api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport))


def hand_through(pieces: list[bytes]) -> int:
    """All that Obol does for a keyed stream's events but write them out."""
    upstream = Upstream("k", None, 60)
    upstream._client = recorded(pieces)
    nothing = lambda *_: None  # noqa: E731
    transcript = Transcript([b"k" * 32])
    hold: Any = SimpleNamespace(transcript=transcript, receipt=None, settle=nothing, let_go=nothing, fail=nothing)
    stream = AnswerStream(hold, upstream.stream("/v1/messages", b"{}", {}), Message())
    return sum(1 for _ in stream)


def parse(pieces: list[bytes]) -> int:
    """What the SDK does for its own caller."""
    client = recorded(pieces)
    stream = client.messages.create(
        model="m", max_tokens=1, messages=[{"role": "user", "content": "Hello"}], stream=True
    )
    return sum(1 for _ in stream)


def in_process(streams: int, tokens: int) -> None:
    """CPU for an event: handed through, and parsed by the SDK."""
    delta = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    delta += b'"delta":{"type":"text_delta","text":" sandbox,"}}\n\n'
    usage = b'"usage":{"input_tokens":20,"output_tokens":1}'
    pieces = [
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
        b'"model":"m","content":[],"stop_reason":null,"stop_sequence":null,' + usage + b"}}\n\n",
        b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n',
        *[delta] * tokens,
        b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n',
        b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"},' + usage + b"}\n\n",
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ]
    spent: dict[str, list[float]] = {"hand_through": [], "parse": []}
    for number in range(streams + WARM_UP):
        for act in (hand_through, parse):
            began_s = time.process_time()
            assert act(pieces) == len(pieces)
            if number >= WARM_UP:
                spent[act.__name__].append((time.process_time() - began_s) / len(pieces))
    ours, theirs = (1e6 * statistics.median(spent[name]) for name in ("hand_through", "parse"))
    ratio = f"{ours / theirs:5.2f} times"
    say(f"{'CPU to hand an event through':34} {ours:8.2f} µs, parsed by the SDK {theirs:7.2f} µs: {ratio}")


def main() -> None:
    given = [int(argument) for argument in sys.argv[1:3]]
    streams, tokens = (*given, *(STREAMS, TOKENS)[len(given) :])
    say(f"{streams} streams of {tokens} tokens, one after the other; medians")
    over_the_wire(streams, tokens)
    in_process(streams, tokens)


if __name__ == "__main__":
    main()
