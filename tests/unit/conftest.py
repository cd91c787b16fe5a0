"""What the unit tests share: time that passes when a test says so, a database that fails when it
says so, a lease that beats when it says so, and a seller of answers that works with all three."""

import fcntl
import json
import os
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg2
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import certificate
import clusters
from factories import License

from service.db import Database
from service.dev.embedded import EmbeddedPostgres, Urls
from service.dev.sandbox import Sandbox
from service.gateway.completions import Call, Completions
from service.gateway.live_hold import Receipt
from service.gateway.upstream import Upstream
from service.lease import Lease
from service.pricing import CLASSES
from service.problems import Problem
from service.repository import holds
from service.repository.holds import Admission, HoldAmounts, SettledHold


@pytest.fixture
def owner_connection(urls: Urls) -> Iterator[Any]:
    """One connection as the owner, for tests that lock what others want."""
    connection = psycopg2.connect(urls.owner)
    connection.autocommit = True
    yield connection
    connection.close()


class Flaky(Database):
    """A database that fails when a test says so."""

    DOWN = Problem("database_error", "down", retry_after_s=1, outcome_unknown=True)
    ALWAYS = float("inf")

    # Failures that are still to come.
    failures: float = 0

    def fail(
        self,
        function: str = "",
        error: Exception = DOWN,
        *,
        times: float = 1,
        after: bool = False,
        then: Callable[[], Any] = lambda: None,
    ) -> None:
        """Fail the next statements that name `function`: instead of running them, or after (the reply
        is lost). Each failure runs `then`."""
        self.failures, self._function, self._error, self._after, self._then = times, function, error, after, then

    def recover(self) -> None:
        self.failures = 0

    def rows(self, statement: Any, **parameters: Any) -> Any:
        if self.failures <= 0 or self._function not in str(statement):
            return super().rows(statement, **parameters)
        self.failures -= 1
        if self._after:
            super().rows(statement, **parameters)
        self._then()
        raise self._error


@pytest.fixture
def flaky(urls: Urls) -> Iterator[Flaky]:
    database = Flaky(urls.service, pool_size=5, wait_s=5)
    yield database
    database.close()


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lease(flaky: Flaky, clock: Clock) -> Lease:
    """A lease of an hour whose heart beats only when the test says so: `lease.beat()`."""
    lease = Lease(flaky, 3600, clock)
    lease.start = lambda: None  # type: ignore[method-assign]
    return lease


@pytest.fixture
def lapse(clock: Clock, lease: Lease) -> Callable[[], None]:
    """`lapse()`: time passes, and the lease with it, as far as this process can tell."""

    def pass_time() -> None:
        clock.now += 3600
        assert not lease.is_alive()

    return pass_time


@pytest.fixture
def state_of(sql: Callable[..., Any]) -> Callable[[UUID], str]:
    """`state_of(hold_id)`: held, settled, released or expired."""
    return lambda hold_id: str(sql("SELECT state FROM obol.holds WHERE hold_id = %s", (str(hold_id),))[0][0])


@pytest.fixture
def expire_due(db: Database) -> Callable[[], int]:
    """`expire_due()`: the heartbeat of another process gives back what is due; how many holds."""
    return lambda: sum(holds.expire(db, item.license_id, item.hold_ids) for item in holds.due(db))


@pytest.fixture
def open_hold(db: Database, lease: Lease) -> Callable[..., Admission]:
    """`open_hold(license, hold_id, idempotency_key=None)`: a hold of 100 credits for a generation of the
    lease's process."""
    price = dict.fromkeys(CLASSES, 1_000_000)

    def admit(
        license: License, hold_id: UUID, idempotency_key: str | None = None, process_id: UUID | None = None
    ) -> Admission:
        return holds.open_for_process(
            db,
            license.key,
            hold_id,
            process_id=process_id or lease.process_id,
            amounts=HoldAmounts(100, 100),
            model="m",
            price=price,
            idempotency_key=idempotency_key,
            fingerprint=b"fingerprint",
        )

    return admit


@pytest.fixture
def settle(db: Database, lease: Lease) -> Callable[..., SettledHold]:
    """`settle(license, hold_id, answer=None)`: charge 40 credits of such a hold."""

    def charge(
        license: License, hold_id: UUID, answer: bytes | None = None, process_id: UUID | None = None
    ) -> SettledHold:
        return holds.settle(
            db,
            license.key,
            hold_id,
            amount=40,
            process_id=process_id or lease.process_id,
            usage={"input": 30, "output": 10},
            answer=answer,
            answer_ttl_s=3600,
        )

    return charge


@pytest.fixture
def locked(owner_connection: Any) -> Callable[[License], AbstractContextManager[None]]:
    """`with locked(license):` somebody else has its row."""

    @contextmanager
    def lock(license: License) -> Iterator[None]:
        owner_connection.autocommit = False
        with owner_connection.cursor() as cursor:
            cursor.execute("SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE", (str(license.id),))
            yield
        owner_connection.rollback()

    return lock


@pytest.fixture
def make_seller(flaky: Flaky, lease: Lease, upstream: Sandbox) -> Callable[..., Completions]:
    """`make_seller(replay_keys=[…])`: sells out of the flaky database."""

    def make(replay_keys: Any = (b"r" * 32,)) -> Completions:
        return Completions(flaky, lease, upstream=Upstream("k", upstream.url, 5), replay_keys=replay_keys)

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
        return Call(
            body=body,
            raw=raw,
            text_bytes=len(raw),
            idempotency_key=idempotency_key,
            fingerprint=b"fingerprint",
            max_credits=max_credits,
        )

    return make


@pytest.fixture(params=["answer", "stream"])
def ask(request: pytest.FixtureRequest, seller: Completions) -> Callable[[License, Call], Receipt]:
    """`ask(license, call)`: the receipt of a call, whole or streamed; its body is emptied."""

    def whole(license: License, call: Call) -> Receipt:
        return seller.answer(license.key, call).receipt

    def streamed(license: License, call: Call) -> Receipt:
        body = dict(call.body, stream=True)
        stream = seller.stream(license.key, replace(call, body=body, raw=json.dumps(body).encode()))
        call.body.clear()
        assert [event.name for event in stream][-1] == "message_stop"
        return stream.receipt

    return whole if request.param == "answer" else streamed


@pytest.fixture
def refusal(seller: Completions) -> Callable[[License, Call], Problem]:
    """`refusal(license, call)`: the Problem that a call for a whole answer ends with."""

    def refused(license: License, call: Call) -> Problem:
        with pytest.raises(Problem) as caught:
            seller.answer(license.key, call)
        return caught.value

    return refused


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side of TLS for localhost, which this process trusts."""
    pem, context = certificate.make(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return context


@pytest.fixture
def empty_folder() -> Iterator[Path]:
    """An empty folder for an embedded PostgreSQL."""
    folder = clusters.new_folder()
    yield folder
    clusters.clear(folder)


@pytest.fixture(scope="session")
def made_folder() -> Path:
    """A folder with a cluster that has been made and stopped: for all workers, and to be copied."""
    folder = Path(os.environ["TEST_FOLDER"])
    with (folder / "made.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = folder / "made"
        if not made.exists():
            made.mkdir(mode=0o755)
            clusters.make(made)
    return made


@pytest.fixture
def folder(made_folder: Path) -> Iterator[Path]:
    """A folder with a cluster that does not run."""
    folder = clusters.new_folder()
    clusters.copy(made_folder, folder)
    yield folder
    clusters.clear(folder)


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded PostgreSQL of `folder`, not started; stopped after the test."""
    server = EmbeddedPostgres(folder)
    yield server
    server.release()
