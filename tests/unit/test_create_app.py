"""The wiring: what the parts of a service have in common, and what they must not share."""

import threading
from uuid import uuid4

import pytest
from factories import wait_until
from sqlalchemy import text

import service
from service import create_app
from service.config import ConfigError, load
from service.http.services import services_of
from service.problems import Problem

ALIVE = "SELECT lease_expires_at > clock_timestamp() FROM obol.processes"
LOCK = 0x0B01_7E57


@pytest.fixture
def busy(environ, monkeypatch, owner_connection):
    """The services of an application whose one connection for calls is in the hand of a slow statement."""
    monkeypatch.setattr(service, "CALL_WAIT_S", 0.1)
    found = services_of(create_app(load(environ | {"OBOL_POOL_SIZE": "1"})))
    cursor = owner_connection.cursor()
    cursor.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
    slow = threading.Thread(target=lambda: found.database.rows(text(f"SELECT pg_advisory_xact_lock({LOCK})")))
    slow.start()
    wait_until(lambda: found.database._engine.pool.checkedout() == 1)
    yield found
    cursor.execute("SELECT pg_advisory_unlock(%s)", (LOCK,))
    slow.join()


def test_the_lease_is_renewed_whatever_keeps_the_calls_connections(busy, sql):
    with pytest.raises(Problem, match="over_capacity"):
        busy.database.rows(text("SELECT 1"))

    busy.lease.beat()

    assert busy.lease.is_alive()
    assert sql(ALIVE) == [(True,)]


def test_all_licenses_of_a_beat_are_seen_to_whatever_keeps_the_calls_connections(busy, db, new_license, sql):
    for _ in range(5):
        license = new_license()
        busy.lease.note_delivered(license.id, uuid4())

    busy.lease.beat()
    assert busy.lease._delivered == {}


@pytest.mark.parametrize("missing", ["DATABASE_URL", "ANTHROPIC_API_KEY"])
def test_a_missing_variable_fails_at_start_by_name(environ, missing):
    del environ[missing]
    with pytest.raises(ConfigError, match=f"^{missing} is not set .*OBOL_DEV=1"):
        create_app(load(environ))


def test_a_key_of_the_development_mode_is_not_used_without_it(environ):
    del environ["ANTHROPIC_API_KEY"]
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY is not set"):
        create_app(load(environ | {"OBOL_DEV": "0"}))


def test_a_base_url_that_is_set_wins_over_the_sandbox(environ, upstream, new_license):
    del environ["ANTHROPIC_API_KEY"]
    app = create_app(load(environ | {"OBOL_DEV": "1"}))

    answer = app.test_client().post("/api/v1/generate", json={"prompt": "Hello"}, headers=new_license().headers)

    assert answer.status_code == 200
    assert upstream.calls == 1
    services_of(app).lease.stop()
