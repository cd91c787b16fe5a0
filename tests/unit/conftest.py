"""What the unit tests share: a connection as the owner, and a seller of answers whose database
fails when a test says so."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import pytest
from factories import wait_until

from service.completions import Call, Completions
from service.db import Database
from service.leases import Leases
from service.problems import Problem
from service.upstream import Upstream


@pytest.fixture
def owner_connection(urls: Any) -> Iterator[Any]:
    """One connection as the owner, for tests that ask often."""
    connection = psycopg2.connect(urls.owner)
    connection.autocommit = True
    yield connection
    connection.close()


class Flaky(Database):
    """A database that fails `failures` times for statements that name `function`: instead of
    running them, or after (the reply is lost). Each failure runs `then`."""

    function, failures, after = "none", 0, False
    problem = Problem("database_error", "down", retry_after_s=1, outcome_unknown=True)

    @staticmethod
    def then() -> None:
        pass

    def rows(self, statement: Any, **parameters: Any) -> Any:
        fails = self.function in str(statement) and self.failures > 0
        if fails:
            self.failures -= 1
        rows = super().rows(statement, **parameters) if self.after or not fails else []
        if fails:
            self.then()
            raise self.problem
        return rows


@pytest.fixture
def flaky(urls: Any) -> Iterator[Flaky]:
    database = Flaky(urls.service, pool_size=5, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def clock() -> list[float]:
    return [0.0]


@pytest.fixture
def leases(db: Database, clock: list[float]) -> Iterator[Leases]:
    """A lease of an hour that beats when it starts, and then when the test says so."""
    leases = Leases(db, 3600, lambda: clock[0])
    leases.start()
    wait_until(leases.alive)
    yield leases
    leases.stop()


@pytest.fixture
def lapse(clock: list[float], leases: Leases) -> Callable[[], None]:
    """`lapse()`: time passes, and the lease with it, as far as this process can tell."""

    def pass_time() -> None:
        clock[0] += 3600
        assert not leases.alive()

    return pass_time


@pytest.fixture
def make_seller(flaky: Flaky, leases: Leases, upstream: Any) -> Callable[..., Completions]:
    """`make_seller(replay_keys=[…])`: sells out of the flaky database."""

    def make(replay_keys: Any = (b"r" * 32,)) -> Completions:
        return Completions(flaky, leases, Upstream("k", upstream.url, 5), replay_keys)

    return make


@pytest.fixture
def seller(make_seller: Callable[..., Completions]) -> Completions:
    return make_seller()


@pytest.fixture
def new_call() -> Callable[..., Call]:
    """`new_call("more of the prompt", idempotency_key=None, …, max_tokens=100, …)`: a call whose
    answer costs 40 credits, if the prompt says nothing else."""

    def make(prompt: str = "", idempotency_key: str | None = None, max_credits: int | None = None, **more: Any) -> Call:
        message = {"role": "user", "content": f"[sandbox input_tokens=30] {prompt}"}
        body = {"model": "m", "max_tokens": 100, "messages": [message], **more}
        raw = json.dumps(body).encode()
        return Call(body, raw, len(raw), idempotency_key, b"fingerprint", max_credits)

    return make
