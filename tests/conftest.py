"""Real parts: a PostgreSQL of the tests' own, a database cloned for each test, a sandbox
upstream on loopback, and gunicorn where a test needs processes to kill.

TEST_POSTGRES_BIN names the bin folder of another PostgreSQL to run everything on.
"""

import fcntl
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parent))

import apps
from databases import Databases, copy_cluster, named, start_server
from factories import License, Served, import_license, make_license, run
from pacing import Pace

from service import create_app, migrations, operator
from service.config import Config, load
from service.db import Database
from service.dev import sandbox
from service.dev.embedded import EmbeddedPostgres, Urls
from service.http.services import services_of
from service.repository import ledger
from service.repository.admin import SCOPES

TEMPLATE = "obol_template"

# Every name that would change what the tests run against.
_OTHER_NAMES = ("DATABASE_URL", "PORT", "WEB_CONCURRENCY")
for name in list(os.environ):
    if name.startswith(("OBOL_", "ANTHROPIC_", "OTEL_", "PROMETHEUS_")) or name in _OTHER_NAMES:
        del os.environ[name]


# The folders whose tests take longest begin, or a worker would end alone with one of them.
LONGEST_FIRST = (
    "business",
    "pages",
    "attacks",
    "faults",
    "clients",
    "cli",
    "matrix",
    "concurrency",
    "curl",
    "migrations",
    "api",
)


def pytest_configure(config: pytest.Config) -> None:
    """The controller starts one server for all workers; they find it in the environment."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    server, urls = start_server(folder, _binaries())
    config.stash[_SERVER] = (server, folder)
    os.environ["TEST_OWNER_URL"], os.environ["TEST_SERVICE_URL"] = urls.owner, urls.service
    os.environ["TEST_FOLDER"] = str(folder)


def _binaries() -> Path | None:
    named = os.environ.get("TEST_POSTGRES_BIN")
    return Path(named) if named else None


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVER in config.stash:
        server, folder = config.stash[_SERVER]
        server.release()
        shutil.rmtree(folder)


def pytest_xdist_auto_num_workers() -> int:
    """One more than CPUs: a third of the time of two is spent waiting for leases to lapse and servers to start."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(Path(__file__).parent).parts[0]
        return LONGEST_FIRST.index(folder) if folder in LONGEST_FIRST else len(LONGEST_FIRST)

    items.sort(key=rank)


_SERVER: pytest.StashKey[tuple[EmbeddedPostgres, Path]] = pytest.StashKey()


@pytest.fixture(scope="session")
def server_urls() -> Urls:
    """The test server, for its owner and for a login that can only do what the service needs."""
    return Urls(os.environ["TEST_OWNER_URL"], os.environ["TEST_SERVICE_URL"])


@pytest.fixture
def empty_database(server_urls: Urls) -> Iterator[Urls]:
    """A database without a migration."""
    name = f"test_{uuid4().hex}"
    run(server_urls.owner, f"CREATE DATABASE {name}")
    yield named(server_urls, name)
    run(server_urls.owner, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def databases(server_urls: Urls) -> Databases:
    """The migrated databases of this worker, made from one that all workers share."""
    with (Path(os.environ["TEST_FOLDER"]) / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not run(server_urls.owner, "SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)):
            run(server_urls.owner, f"CREATE DATABASE {TEMPLATE}")
            migrations.upgrade(named(server_urls, TEMPLATE).owner)
        # Nobody may be in a database while another is made from it.
        return Databases(server_urls, TEMPLATE)


@pytest.fixture
def urls(request: pytest.FixtureRequest, server_urls: Urls, databases: Databases) -> Iterator[Urls]:
    """A migrated database of the test's own. Whatever the test did, the ledger must verify
    afterwards, unless the test is marked `tampers`."""
    name = databases.take()
    yield named(server_urls, name)
    tampers = request.node.get_closest_marker("tampers") is not None
    assert databases.give_back(name, keep=not tampers, verify=not tampers) == [], "obol verify"


@pytest.fixture
def cluster() -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL of the test's own, to be killed."""
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    folder.chmod(0o755)
    server = copy_cluster(Path(os.environ["TEST_FOLDER"]), folder, _binaries())
    yield server
    server.release()
    shutil.rmtree(folder)


@pytest.fixture
def db(urls: Urls) -> Iterator[Database]:
    """The database as the service sees it."""
    database = Database(urls.service, pool_size=10, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def owner(urls: Urls) -> Iterator[Database]:
    """The database as the operator's commands see it."""
    database = Database(urls.owner, pool_size=5, wait_s=5)
    yield database
    database.close()


@pytest.fixture
def sql(urls: Urls) -> Callable[..., list[tuple[Any, ...]]]:
    """`sql(statement, parameters)`: rows, as the owner, committed."""
    return lambda statement, parameters=None: run(urls.owner, statement, parameters)


@pytest.fixture
def new_license(owner: Database) -> Callable[..., License]:
    """`new_license(credits=1000, name="", expires_at=None)`: a license with its raw key."""
    return lambda **values: make_license(owner, **values)


@pytest.fixture
def new_imported(owner: Database) -> Callable[..., License]:
    """`new_imported("LIC-1234-5678", credits=1000, …)`: a license of another system, with the key that it has there."""
    return lambda raw_key=None, **values: import_license(owner, raw_key or f"LIC-{uuid4()}", **values)


@pytest.fixture
def new_token(owner: Database) -> Callable[..., str]:
    """`new_token("read", "grant", name=…)`: a token of the admin API with these scopes, by default with all."""

    def make(*scopes: str, name: str | None = None, **values: Any) -> str:
        name = name or f"test {uuid4()}"
        return operator.create_token(owner, name=name, scopes=scopes or SCOPES, **values).token

    return make


@pytest.fixture
def verified(owner: Database) -> Callable[[], None]:
    """`verified()`: assert in the middle of a test that the ledger agrees."""

    def check() -> None:
        assert ledger.verify(owner) == []

    return check


@pytest.fixture
def upstream() -> Iterator[sandbox.Sandbox]:
    """A sandbox upstream of the test's own; it keeps what reaches it."""
    server = sandbox.start(record=True)
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def environ(urls: Urls, upstream: sandbox.Sandbox) -> dict[str, str]:
    """The environment of a service for this test's database and upstream."""
    return {
        "DATABASE_URL": urls.service,
        "OBOL_MIGRATE_URL": urls.owner,
        "ANTHROPIC_API_KEY": "test-upstream-key",
        "ANTHROPIC_BASE_URL": upstream.url,
        "OBOL_LEASE_S": "2",
        "OBOL_REPLAY_KEYS": "A" * 43,
        "OBOL_SESSION_KEY": "S" * 42 + "A",
    }


@pytest.fixture
def config(environ: dict[str, str]) -> Config:
    return load(environ)


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    app = apps.create_app(config)
    yield app
    services_of(app).lease.stop()


@pytest.fixture
def own_app(config: Config) -> Iterator[Flask]:
    """One to which a test may add routes."""
    app = create_app(config)
    yield app
    services_of(app).lease.stop()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def serve(environ: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """`serve(**environment)`: gunicorn in a process of its own, stopped after the test."""
    started: list[Served] = []

    def start(**more: str) -> Served:
        served = Served(environ | more, tmp_path / f"served-{len(started)}.log")
        started.append(served)
        served.wait_until_ready()
        return served

    yield start
    for served in started:
        served.stop()


# After `serve`: a server that is stopped waits for its answers.
@pytest.fixture
def pace(serve: Callable[..., Served], monkeypatch: pytest.MonkeyPatch) -> Iterator[Pace]:
    """The pace of the upstream; nothing that waits goes on before the test says so."""
    pace = Pace()
    monkeypatch.setattr("service.dev.sandbox.time", SimpleNamespace(**vars(time) | {"sleep": pace.sleep}))
    yield pace
    pace.go_on()
