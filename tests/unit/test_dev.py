"""Development mode: what is missing is filled in, what is set wins, and production gets nothing."""

import base64
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import psycopg2
import pytest
from factories import run

from service import dev
from service.config import ConfigError, load
from service.dev.embedded import EmbeddedPostgres


@pytest.fixture
def data_dir(empty_folder):
    """Where a folder for the data may be made."""
    return empty_folder / "data"


def environ(data_dir, **more):
    return {"OBOL_DEV": "1", "OBOL_DATA_DIR": str(data_dir), **more}


@pytest.mark.parametrize("off", [{}, {"OBOL_DEV": "0"}, {"OBOL_DEV": ""}])
def test_nothing_is_filled_in_in_production(data_dir, off):
    given = {"OBOL_DATA_DIR": str(data_dir), "OTHER": "value"} | off

    with dev.environment(given) as filled:
        assert filled == given
    assert not data_dir.exists()


def test_a_database_of_its_own_for_as_long_as_the_block(folder):
    given = environ(folder, OTHER="value")
    before = dict(given)
    with dev.environment(given) as filled:
        config = load(filled)
        assert run(config.require_database_url(), "SELECT current_user::text") == [("obol_login",)]
        assert run(config.require_migrate_url(), "SELECT current_user::text") == [("obol_owner",)]
        assert len(config.replay_keys) == 1
        assert filled["OTHER"] == "value"
    assert given == before
    assert not list(folder.rglob("postmaster.pid"))


def test_the_database_stops_when_the_block_raises(folder):
    with pytest.raises(psycopg2.Error), dev.environment(environ(folder)) as filled:
        run(filled["DATABASE_URL"], "SELECT no_such_column")
    assert not list(folder.rglob("postmaster.pid"))


def test_a_database_that_was_not_waited_for_stops(folder, monkeypatch):
    start = EmbeddedPostgres._start

    def start_and_be_interrupted(*arguments):
        start(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(EmbeddedPostgres, "_start", start_and_be_interrupted)
    with pytest.raises(KeyboardInterrupt), dev.environment(environ(folder)):
        pass
    assert not list(folder.rglob("postmaster.pid"))


def test_a_database_that_is_set_wins_and_nothing_embedded_is_touched(data_dir):
    given = environ(data_dir, DATABASE_URL="postgresql://a:b@127.0.0.1/c")
    with dev.environment(given) as filled:
        made = {name: filled[name] for name in ("OBOL_REPLAY_KEYS", "OBOL_SESSION_KEY", "OBOL_WEBHOOK_KEYS")}
        assert filled == given | made
        assert len(set(made.values())) == len(made)
        assert sorted(file.name for file in data_dir.iterdir()) == ["replay.key", "session.key", "webhook.key"]


def test_keys_that_are_set_win(data_dir):
    keys = dict.fromkeys(("OBOL_REPLAY_KEYS", "OBOL_SESSION_KEY", "OBOL_WEBHOOK_KEYS"), "A" * 43)
    given = environ(data_dir, DATABASE_URL="postgresql://a:b@127.0.0.1/c", **keys)
    with dev.environment(given) as filled:
        assert filled == given
    assert not data_dir.exists()


def test_the_replay_key_is_private_and_the_same_every_time(data_dir):
    given = environ(data_dir, DATABASE_URL="postgresql://a:b@127.0.0.1/c")
    with dev.environment(given) as first, dev.environment(given) as second:
        assert first == second
        assert len(base64.urlsafe_b64decode(first["OBOL_REPLAY_KEYS"])) == 32
    assert stat.S_IMODE((data_dir / "replay.key").stat().st_mode) == 0o600


def test_an_owner_s_url_without_a_database_url_is_refused(data_dir):
    """A variable that is set wins; serving from the embedded database would quietly ignore it."""
    given = environ(data_dir, OBOL_MIGRATE_URL="postgresql://a:b@127.0.0.1/c")
    with pytest.raises(ConfigError, match="DATABASE_URL"), dev.environment(given):
        pass


def test_a_wrong_setting_is_named(data_dir):
    with pytest.raises(ConfigError, match="OBOL_DEV"), dev.environment(environ(data_dir, OBOL_DEV="yes")):
        pass


def test_the_process_s_own_environment_is_left_alone(data_dir):
    before = dict(os.environ)
    with dev.environment(environ(data_dir, DATABASE_URL="postgresql://a:b@127.0.0.1/c")):
        assert dict(os.environ) == before


def test_processes_that_start_at_once_share_one_replay_key(data_dir):
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(lambda _: dev._own_key(data_dir, "replay.key"), range(64)))

    assert len(keys) == 1
    assert [file.name for file in data_dir.iterdir()] == ["replay.key"]
