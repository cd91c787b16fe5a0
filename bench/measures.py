"""What is measured. Each function gives rows; each row is of two things that took turns in the same run."""

import json
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from factories import run

from service import keys, operator
from service.api.admin.batch import MAX_ITEMS
from service.db import Database

from . import BARE_PATH, ROOT, upstream
from .rows import Row, in_turn
from .world import LICENSES, World, pss_mb

BARE = ("GET", BARE_PATH, "-")
DEDUCTION = '{"amount": 1}'
_BATCHES = 40
MESSAGE = json.dumps(
    {
        "model": "claude-sonnet-5-5",
        "max_tokens": 256,
        "messages": [{"role": "user", "content": "Hello, how are you today?"}],
    }
)
DEDUCT = """SELECT d.* FROM bench.keys AS k, LATERAL obol.deduct_credits(k.key, 1) AS d WHERE k.number = :number;
"""


def deduct(world: World) -> tuple[str, ...]:
    return "POST", "/api/v1/deductions", str(world.folder / "keys.txt"), DEDUCTION


def message(world: World) -> tuple[str, ...]:
    return "POST", "/v1/messages", str(world.folder / "keys.txt"), MESSAGE


def medians(loads: Any, field: str) -> float:
    return statistics.median(getattr(load, field) for load in loads)


def ratios(ones: Any, others: Any, field: str) -> list[float]:
    return [getattr(one, field) / getattr(other, field) for one, other in zip(ones, others, strict=True)]


def cpu(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """CPU of the workers for a call."""
    for call in (BARE, deduct(world), message(world)):
        world.load(16, seconds, *call)
    bare, deductions, messages = in_turn(
        rounds,
        [
            lambda: world.load(16, seconds, *BARE),
            lambda: world.load(16, seconds, *deduct(world)),
            lambda: world.load(16, seconds, *message(world)),
        ],
    )
    unit_us = medians(bare, "cpu_us")
    for name, loads, most, aim in (("deduction", deductions, 3.0, 2.5), ("message", messages, 6.0, 5.0)):
        made_of = f"{medians(loads, 'cpu_us'):.0f} us; a bare Flask route {unit_us:.0f} us"
        figures = ratios(loads, bare, "cpu_us")
        yield Row(f"CPU of the workers for a {name}, 16 clients", figures, at_most=most, aim=aim, beside=made_of)
    made_of = f"{medians(messages, 'per_s'):.0f} a second; p50 {medians(messages, 'p50_ms'):.1f} ms"
    tails = ratios(messages, messages, "p99_ms") and [load.p99_ms / load.p50_ms for load in messages]  # type: ignore
    yield Row("message, 16 clients: p99 to p50", tails, at_most=4, beside=made_of)


def generator(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """That neither wrk nor the upstream is what limits."""
    direct, through = in_turn(
        rounds,
        [
            lambda: world.load(16, seconds, "POST", "/v1/messages", "-", MESSAGE, url=world.upstream_url),
            lambda: world.load(16, seconds, *message(world)),
        ],
    )
    made_of = f"{medians(direct, 'per_s'):.0f} a second; by Obol {medians(through, 'per_s'):.0f}"
    yield Row(
        "the upstream and wrk alone, to messages by Obol", ratios(direct, through, "per_s"), at_least=4, beside=made_of
    )


def throughput(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """Deductions, to what the database does without anything around it."""
    hot = ("POST", "/api/v1/deductions", str(world.folder / "hot.txt"), DEDUCTION)
    many = f"\\set number random(1, {len(world.keys)})\n{DEDUCT}"
    one = f"\\set number 1\n{DEDUCT}"
    licenses = f"{len(world.keys)} licenses (target: of {LICENSES})"
    for name, call, clients, script, least, aim in (
        (f"deductions, 16 clients, {licenses}", deduct(world), 16, many, 0.25, 0.33),
        ("one hot license, 32 clients", hot, 32, one, 1.3, 2.0),
    ):
        loads, alone = in_turn(
            rounds,
            [
                lambda call=call, clients=clients: world.load(clients, seconds, *call),
                lambda script=script, clients=clients: world.pgbench(clients, seconds, script),
            ],
        )
        figures = [load.per_s / tps for load, tps in zip(loads, alone, strict=True)]  # type: ignore
        made_of = f"{medians(loads, 'per_s'):.0f} a second; pgbench {statistics.median(alone):.0f}"  # type: ignore
        yield Row(name, figures, "of pgbench", at_least=least, aim=aim, beside=made_of)


def batches(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """Deductions in batches, to single ones by `pgbench`: credits that are booked a second."""
    owner = Database(world.urls.owner, pool_size=1, wait_s=5)
    token = operator.create_token(owner, name="bench", scopes=["grant"]).token
    owner.close()
    numbers = range(len(world.keys))
    one = [0] * MAX_ITEMS
    script = f"\\set number random(1, {len(numbers)})\n{DEDUCT}"
    for name, pick in (
        ("of as many licenses", lambda: random.sample(numbers, min(MAX_ITEMS, len(numbers)))),
        ("of one license", lambda: one),
    ):
        booked, alone = in_turn(
            rounds,
            [
                lambda pick=pick: _book(world, token, [_batch(world, pick()) for _ in range(_BATCHES)]),
                lambda: world.pgbench(16, seconds, script),
            ],
        )
        figures = [per_s / tps for per_s, tps in zip(booked, alone, strict=True)]  # type: ignore
        made_of = f"{statistics.median(booked):.0f} a second; pgbench {statistics.median(alone):.0f}"  # type: ignore
        what = f"batches of {MAX_ITEMS} deductions {name}"
        yield Row(what, figures, "of pgbench", at_least=4, aim=6, beside=made_of)


def _batch(world: World, numbers: Sequence[int]) -> bytes:
    items = [
        {"license_id": license_id(world.keys[number]), "amount": 1, "idempotency_key": secrets.token_hex(8)}
        for number in numbers
    ]
    return json.dumps({"items": items}).encode()


def license_id(license_key: str) -> str:
    """The license that a key of ours names."""
    found = keys.parse(license_key)
    assert found is not None
    return str(found.license_id)


def _book(world: World, token: str, batches: list[bytes]) -> float:
    """Items a second of batches that were made before, by four clients."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    address = urlsplit(world.url).netloc

    def send(some: list[bytes]) -> int:
        connection = HTTPConnection(address)
        done = 0
        for batch in some:
            connection.request("POST", "/api/v1/deductions/batch", batch, headers)
            response = connection.getresponse()
            answer = response.read()
            if response.status != 200 or b"refused" in answer:
                raise RuntimeError(f"{response.status}: {answer[:500]!r}")
            done += answer.count(b'"deducted"')
        return done

    began_at = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        items = sum(pool.map(send, (batches[n::4] for n in range(4))))
    return items / (time.monotonic() - began_at)


def latency(world: World, rounds: int, seconds: int) -> Iterator[Row]:
    """What a call waits longer when it is alone."""
    direct, through = in_turn(
        rounds,
        [
            lambda: world.load(1, seconds, "POST", "/v1/messages", "-", MESSAGE, url=world.upstream_url),
            lambda: world.load(1, seconds, *message(world)),
        ],
    )
    added = [obol.p50_ms - alone.p50_ms for obol, alone in zip(through, direct, strict=True)]  # type: ignore
    made_of = f"p50 {medians(through, 'p50_ms'):.2f} ms; direct {medians(direct, 'p50_ms'):.2f} ms"
    yield Row("message, 1 client: added to the direct call", added, "ms", beside=made_of)


def streams(world: World, rounds: int, _seconds: int) -> Iterator[Row]:
    """Streams that all run at once, of as many licenses, with default settings."""
    charge = upstream.INPUT_TOKENS + upstream.OUTPUT_TOKENS
    keys = str(world.folder / "keys.txt")
    ask(world.url, 20, keys)
    for count, median_most, p95_most, aim in ((200, 1.02, 1.1, None), (500, 1.05, 1.2, None), (1000, 1.25, 1.5, 1.15)):
        before = _balances(world)
        direct, through = in_turn(
            rounds,
            [lambda count=count: ask(world.upstream_url, count), lambda count=count: ask(world.url, count, keys)],
        )
        streams_of = {license_id(world.keys[place]): number for place, number in asked_with(count, len(world.keys))}
        due = {license: rounds * number * charge for license, number in streams_of.items()}
        if wrong := wrong_charges(before, _balances(world), due):
            raise RuntimeError(
                f"{len(wrong)} licenses were charged wrongly for {rounds} times {count} streams: {wrong[:3]}"
            )
        for name, at, most, best in (("median", 0.5, median_most, aim), ("95th percentile", 0.95, p95_most, None)):
            figures, absolute = [], []
            for alone, with_obol in zip(direct, through, strict=True):
                ours, theirs = (_quantile([total for _, total in times], at) for times in (with_obol, alone))  # type: ignore
                figures.append(ours / theirs)
                absolute.append(ours)
            made_of = f"{statistics.median(absolute):.2f} s"
            yield Row(f"{count} streams at once: {name}", figures, "of direct", at_most=most, aim=best, beside=made_of)
    used = [pss_mb(world.master.pid), *map(pss_mb, world.workers())]
    each = ", ".join(f"{mb:.0f}" for mb in used)
    yield Row("memory of all processes after these", [sum(used)], "MB", at_most=500, beside=f"PSS: {each}")


def first_event(world: World, rounds: int, _seconds: int) -> Iterator[Row]:
    """One stream after the other: what its first event comes later."""
    keys = str(world.folder / "keys.txt")
    direct, through = in_turn(5 * rounds, [lambda: ask(world.upstream_url, 1), lambda: ask(world.url, 1, keys)])
    later = [1000 * (obol[0][0] - alone[0][0]) for obol, alone in zip(through, direct, strict=True)]  # type: ignore
    yield Row("first event of a stream, 1 client: later than direct", later, "ms", at_most=4, aim=2)


def idle(world: World, _rounds: int, _seconds: int) -> Iterator[Row]:
    """Of workers that have done nothing yet."""
    used = [pss_mb(pid) for pid in world.workers()]
    each = f"PSS; the master beside it {pss_mb(world.master.pid):.0f} MB"
    yield Row("memory of an idle worker", used, "MB", at_most=80, beside=each)


def start(_world: World, rounds: int, _seconds: int) -> Iterator[Row]:
    """`make run` on a machine where it ran before: what it runs once the installation is found to be there."""
    with tempfile.TemporaryDirectory(prefix="obol-bench-") as folder:
        Path(folder).chmod(0o755)
        _run_once(folder)
        yield Row("make run, second start to ready", [_run_once(folder) for _ in range(rounds)], "s", at_most=2)


def _run_once(folder: str) -> float:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OBOL_", "DATABASE_"))}
    environ |= {"OBOL_DEV": "1", "OBOL_DATA_DIR": folder, "PORT": "18237"}
    began_at = time.monotonic()
    with subprocess.Popen(
        [Path(sys.executable).with_name("obol"), "serve", "--demo"], env=environ, cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            if "Obol is ready" in line:
                break
        ready_s = time.monotonic() - began_at
        process.terminate()
        process.stdout.read()
    return ready_s


def ask(url: str, count: int, *keys: str) -> list[tuple[float, float]]:
    """Seconds until the first event and until the end, of so many streams at once."""
    command = [sys.executable, "-m", "bench.client", url, str(count), *keys]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if said.returncode:
        raise RuntimeError(said.stderr[-2000:])
    times: list[tuple[float, float]] = json.loads(said.stdout)
    return times


def asked_with(streams: int, keys: int) -> list[tuple[int, int]]:
    """Of streams at once, as the client asks: places of keys, and how many are asked with each."""
    return sorted(Counter(number % keys for number in range(streams)).items())


def wrong_charges(before: dict[str, int], after: dict[str, int], due: dict[str, int]) -> list[str]:
    """What is wrong with the charge of each license of which something is: one too many and one too few are two."""
    charged = {license: balance - after[license] for license, balance in before.items()}
    return [
        f"{license}: {credits} credits for {due.get(license, 0)}"
        for license, credits in charged.items()
        if credits != due.get(license, 0)
    ]


def _balances(world: World) -> dict[str, int]:
    """By license."""
    return dict(run(world.urls.owner, "SELECT license_id::text, balance FROM obol.licenses"))


def _quantile(values: list[float], at: float) -> float:
    return sorted(values)[min(len(values) - 1, int(at * len(values)))]


ALL = (idle, cpu, generator, throughput, batches, latency, first_event, streams, start)
