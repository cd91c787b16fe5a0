"""A hundred keyed calls, each sent five times at once, by clients that may hang up anywhere."""

import json
import random
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPException

import pytest
from wire_client import Exchange, seen

CALLS = 100
SENDS = 5
CLIENTS = 32
GIVE_UP_S = 45

# What a client does that does not want its answer any more.
ABORTS = ("before reading", "after some bytes")


@dataclass
class Call:
    """One keyed call, and the whole answers that its sends have got."""

    key: str
    stream: bool
    cost: int
    body: bytes
    answers: list = field(default_factory=list)


@dataclass(frozen=True)
class Send:
    """One sending of a call: whole, or until the client hangs up; `turn` is its place among all."""

    turn: float
    call: Call
    abort: str | None
    pause_s: float
    bytes_read: int
    reset: bool


def make_call(dice, number):
    stream = dice.random() < 0.5
    used, made = dice.randint(1, 60), dice.randint(1, 150)
    directives = [f"input_tokens={used}", f"output_tokens={made}"]
    if dice.random() < 0.3:
        directives.append(f"delay_ms={dice.randint(1, 800)}")
    if stream and dice.random() < 0.3:
        directives.append(f"event_delay_ms={dice.randint(1, 5)}")
    prompt = " ".join(f"[sandbox {directive}]" for directive in directives)
    request = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 200,
        "stream": stream,
        "messages": [{"role": "user", "content": f"{prompt} call {number}"}],
    }
    # The tests' price book has one credit for every token.
    return Call(f"call-{number}", stream, used + made, json.dumps(request).encode())


def make_send(dice, number, call):
    # Near its twins, so that most of them meet one that still runs.
    turn = number + dice.uniform(0, 8)
    abort = dice.choice(ABORTS) if dice.random() < 0.4 else None
    return Send(turn, call, abort, dice.uniform(0, 0.3), dice.randint(1, 4000), dice.random() < 0.5)


@pytest.fixture
def dice():
    seed = random.randrange(2**32)
    sys.stdout.write(f"seed {seed}\n")
    return random.Random(seed)


@pytest.fixture
def deliver(serve, new_license):
    """`deliver(send)`: do as the sending says; a client that stays asks until it has its answer.
    Returns how often it was told that the call is running."""
    served = serve(WEB_CONCURRENCY="2")
    license = new_license(credits=1_000_000)
    give_up_at = time.monotonic() + GIVE_UP_S

    def once(send):
        headers = license.headers | {"Idempotency-Key": send.call.key}
        with Exchange(served.port, send.call.body, headers, timeout_s=30) as exchange:
            if send.abort:
                with suppress(OSError, HTTPException):
                    hang_up(exchange, send)
                return None
            return exchange.response, seen(exchange)

    def deliver(send):
        refused = 0
        while answer := once(send):
            response, got = answer
            if got.status != 409:
                assert got.whole, f"{send.call.key}: {got}"
                send.call.answers.append(got)
                break
            refused += 1
            assert time.monotonic() < give_up_at, f"{send.call.key} has no answer yet"
            time.sleep(int(response.headers["retry-after"]))
        return refused

    return deliver


def hang_up(exchange, send):
    if send.abort == "before reading":
        time.sleep(send.pause_s)
    else:
        left = send.bytes_read
        for piece in exchange.pieces(512):
            left -= len(piece)
            if left <= 0:
                break
    exchange.hang_up(send.reset)


def test_a_hundred_keyed_calls_sent_five_times_each_are_answered_and_charged_once(
    deliver, dice, upstream, sql, verified
):
    calls = [make_call(dice, number) for number in range(CALLS)]
    sends = [make_send(dice, number, call) for number, call in enumerate(calls) for _ in range(SENDS)]
    sends.sort(key=lambda send: send.turn)

    with ThreadPoolExecutor(CLIENTS) as pool:
        refusals = sum(pool.map(deliver, sends))
        # Those whose clients have all hung up are asked once more, and so are the others.
        list(pool.map(deliver, [Send(0, call, None, 0, 0, False) for call in calls]))

    assert refusals > 0, "twins must have met"
    sys.stdout.write(f"{refusals} refusals\n")
    assert upstream.calls == CALLS
    charges = sql("""
        SELECT h.idempotency_key, -e.amount FROM obol.ledger_entries e JOIN obol.holds h ON h.hold_id = e.cause_id
         WHERE e.kind = 'charge'
    """)
    assert sorted(charges) == sorted((call.key, call.cost) for call in calls)
    for call in calls:
        assert {answer.body for answer in call.answers} == {call.answers[0].body}, call.key
        assert {answer.charged for answer in call.answers} == {call.cost}, call.key
        assert sum(not answer.replayed for answer in call.answers) <= 1, call.key
    assert sql("SELECT balance, held FROM obol.licenses") == [(1_000_000 - sum(call.cost for call in calls), 0)]
    assert sql("SELECT count(*) FROM obol.holds WHERE state <> 'settled'") == [(0,)]
    verified()
