"""Real parts: a PostgreSQL of the tests' own, a database cloned for each test, a sandbox
upstream on loopback, and gunicorn where a test needs processes to kill.

TEST_POSTGRES_BIN names the bin folder of another PostgreSQL to run everything on.
"""

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask import Flask
from flask.testing import FlaskClient

sys.path.insert(0, str(Path(__file__).parent))

from factories import License, Served, make_license, run

from service import create_app, leases_of, migrations, sandbox
from service.config import Config, load
from service.db import Database
from service.embedded import EmbeddedPostgres, Urls
from service.repository import credits

TEMPLATE = "obol_template"

# Every name that would change what the tests run against.
for name in list(os.environ):
    if name.startswith(("OBOL_", "ANTHROPIC_")) or name in ("DATABASE_URL", "PORT", "WEB_CONCURRENCY"):
        del os.environ[name]


def pytest_configure(config: pytest.Config) -> None:
    """The controller starts one server for all workers; they find it in the environment."""
    if hasattr(config, "workerinput"):
        return
    folder = Path(tempfile.mkdtemp(prefix="obol-tests-"))
    # The server runs as another user when the tests run as root.
    folder.chmod(0o755)
    binaries = os.environ.get("TEST_POSTGRES_BIN")
    server = EmbeddedPostgres(folder, Path(binaries) if binaries else None)
    urls = server.acquire()
    config.stash[_SERVER] = (server, folder)
    os.environ["TEST_OWNER_URL"], os.environ["TEST_SERVICE_URL"] = urls.owner, urls.service
    os.environ["TEST_FOLDER"] = str(folder)
    # What a test commits need not survive the machine.
    for statement in ("ALTER SYSTEM SET fsync = off", "ALTER SYSTEM SET max_connections = 300"):
        run(urls.owner, statement)
    run(urls.owner, "SELECT pg_reload_conf()")


def pytest_unconfigure(config: pytest.Config) -> None:
    if _SERVER in config.stash:
        server, folder = config.stash[_SERVER]
        server.release()
        shutil.rmtree(folder)


_SERVER: pytest.StashKey[tuple[EmbeddedPostgres, Path]] = pytest.StashKey()


def _named(url: str, database: str) -> str:
    return url.rpartition("/")[0] + "/" + database


@pytest.fixture(scope="session")
def server_urls() -> Urls:
    """The test server, for its owner and for a login that can only do what the service needs."""
    return Urls(os.environ["TEST_OWNER_URL"], os.environ["TEST_SERVICE_URL"])


@pytest.fixture
def empty_database(server_urls: Urls) -> Iterator[Urls]:
    """A database without a migration."""
    name = f"test_{uuid4().hex}"
    run(server_urls.owner, f"CREATE DATABASE {name}")
    yield Urls(_named(server_urls.owner, name), _named(server_urls.service, name))
    run(server_urls.owner, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def template(server_urls: Urls) -> str:
    """A database at the newest migration, made once for all workers."""
    with (Path(os.environ["TEST_FOLDER"]) / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not run(server_urls.owner, "SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,)):
            run(server_urls.owner, f"CREATE DATABASE {TEMPLATE}")
            migrations.upgrade(_named(server_urls.owner, TEMPLATE))
    return TEMPLATE


@pytest.fixture
def urls(request: pytest.FixtureRequest, server_urls: Urls, template: str) -> Iterator[Urls]:
    """A migrated database of the test's own. Whatever the test did, the ledger must verify
    afterwards, unless the test is marked `tampers`."""
    name = f"test_{uuid4().hex}"
    run(server_urls.owner, f"CREATE DATABASE {name} TEMPLATE {template}")
    urls = Urls(_named(server_urls.owner, name), _named(server_urls.service, name))
    yield urls
    findings = [] if request.node.get_closest_marker("tampers") else run(urls.owner, "SELECT * FROM obol.verify()")
    run(server_urls.owner, f"DROP DATABASE {name} WITH (FORCE)")
    assert findings == [], "obol verify"


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
def verified(owner: Database) -> Callable[[], None]:
    """`verified()`: assert in the middle of a test that the ledger agrees."""

    def check() -> None:
        assert credits.verify(owner) == []

    return check


@pytest.fixture
def upstream() -> Iterator[sandbox.Sandbox]:
    """A sandbox upstream of the test's own; `upstream.calls` counts what reached it."""
    server = sandbox.start()
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
    }


@pytest.fixture
def config(environ: dict[str, str]) -> Config:
    return load(environ)


@pytest.fixture
def app(config: Config) -> Iterator[Flask]:
    app = create_app(config)
    yield app
    leases_of(app).stop()


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
