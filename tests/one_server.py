"""One server and one database for all tests of a file, for those that neither kill nor count: each has a
license of its own. A file or folder has them by importing all of it."""

from collections.abc import Iterator
from typing import Any

import psycopg2
import pytest
from databases import Databases, named
from factories import Served

from service.dev import sandbox
from service.dev.embedded import Urls

__all__ = ["ledger_agrees", "looking", "sandboxed", "served", "upstream", "urls"]


@pytest.fixture(scope="module")
def urls(server_urls: Urls, databases: Databases) -> Iterator[Urls]:
    """A database for all tests of a file: each has a license of its own."""
    name = databases.take()
    yield named(server_urls, name)
    # `ledger_agrees` has looked after each of them.
    databases.give_back(name, keep=True, verify=False)


@pytest.fixture(scope="module")
def looking(urls: Urls) -> Iterator[Any]:
    """A cursor for `ledger_agrees`: on a new connection its statements take fifteen times as long to plan as to run."""
    connection = psycopg2.connect(urls.owner)
    connection.autocommit = True
    yield connection.cursor()
    connection.close()


@pytest.fixture(autouse=True)
def ledger_agrees(looking: Any) -> Iterator[None]:
    """Whatever the test did, `obol verify` finds nothing."""
    yield
    looking.execute("SELECT * FROM obol.verify()")
    assert looking.fetchall() == []


@pytest.fixture(scope="module")
def sandboxed() -> Iterator[sandbox.Sandbox]:
    server = sandbox.start(record=True)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def upstream(sandboxed: sandbox.Sandbox) -> sandbox.Sandbox:
    """The upstream of `served`, without what earlier tests left in `received` and `used`."""
    sandboxed.received.clear()
    sandboxed.used.clear()
    return sandboxed


@pytest.fixture(scope="module")
def served(
    urls: Urls, sandboxed: sandbox.Sandbox, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Served]:
    """gunicorn as it runs in production, for all tests of a file: to start one takes seconds. A file's ENVIRON
    is what it is set to besides."""
    environ = {
        "DATABASE_URL": urls.service,
        "ANTHROPIC_API_KEY": "test-upstream-key",
        "ANTHROPIC_BASE_URL": sandboxed.url,
        "OBOL_REPLAY_KEYS": "A" * 43,
        "OBOL_SESSION_KEY": "S" * 42 + "A",
        **getattr(request.module, "ENVIRON", {}),
    }
    server = Served(environ, tmp_path_factory.mktemp("served") / "log")
    try:
        server.wait_until_ready()
        yield server
    finally:
        server.stop()
