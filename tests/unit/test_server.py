"""What gunicorn is told, what it refuses by itself, and what it logs."""

import json
import logging
import os
import runpy
import socket
from contextlib import nullcontext
from types import SimpleNamespace

import gunicorn.util
import pytest
from factories import ROOT
from gunicorn.config import Config as GunicornConfig
from gunicorn.http.errors import InvalidChunkSize, InvalidHeader, InvalidRequestLine
from gunicorn.workers.gthread import ThreadWorker
from structlog.testing import capture_logs

from service import keys, logs, server
from service.dev.embedded import EmbeddedError
from service.problems import Problem
from service.repository import admin
from service.repository.admin import Actor
from service.server import MaskingLogger, on_starting, post_worker_init, worker_exit, write_problem
from service.worker import Worker

SETTINGS = {"DATABASE_URL": "postgresql://a:b@127.0.0.1/c", "ANTHROPIC_API_KEY": "k"}


@pytest.fixture
def configure(monkeypatch):
    """`configure(PORT="1")`: what gunicorn.conf.py says in an environment of these settings."""
    # It sets up the process that it is loaded in; this one is not to be a server.
    monkeypatch.setattr(logs, "configure", lambda: None)
    monkeypatch.setattr(server, "share_metrics", lambda parent: None)
    monkeypatch.setattr(gunicorn.util, "write_error", gunicorn.util.write_error)

    def load(**environ):
        monkeypatch.setattr(os, "environ", {"PATH": "/bin", **environ})
        return runpy.run_path(str(ROOT / "gunicorn.conf.py"))

    return load


def test_running_answers_have_ten_minutes_and_a_worker_that_hangs_has_one(configure):
    told = configure(**SETTINGS)

    assert (told["graceful_timeout"], told["timeout"]) == (600, 60)
    # Of its kinds of workers the one whose time-out is for the worker and not for a request.
    assert told["worker_class"] == "service.worker.Worker"
    assert issubclass(Worker, ThreadWorker)
    assert (told["workers"], told["threads"], told["bind"]) == (2, 1000, "127.0.0.1:8000")
    assert gunicorn.util.write_error is write_problem


def test_the_environment_says_where_and_how_many(configure):
    told = configure(**SETTINGS, PORT="8080", WEB_CONCURRENCY="5", OBOL_THREADS="7")
    assert (told["workers"], told["threads"], told["bind"]) == (5, 7, "127.0.0.1:8080")


@pytest.mark.parametrize("missing", SETTINGS)
def test_a_missing_variable_ends_the_master_by_its_name(configure, capsys, missing):
    with pytest.raises(SystemExit) as ended:
        configure(**{name: value for name, value in SETTINGS.items() if name != missing})

    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith(f"obol: {missing} is not set")


def test_in_development_nothing_has_to_be_set(configure):
    assert configure(OBOL_DEV="1")["threads"] == 1000


@pytest.mark.parametrize(
    ("status", "answered", "code"),
    [(400, 400, "malformed_request"), (431, 400, "malformed_request"), (500, 500, "internal_error")],
)
def test_a_refusal_is_a_problem_that_repeats_nothing(status, answered, code):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        write_problem(ours, status, "Bad Request", "what the client sent")
        head, _, body = theirs.recv(4096).decode().partition("\r\n\r\n")

    document = json.loads(body)
    assert head.startswith(f"HTTP/1.1 {answered} ")
    assert (document["status"], document["code"]) == (answered, code)
    assert f"request-id: {document['instance'].removeprefix('urn:obol:request:')}\r\n" in head
    assert "what the client sent" not in body


@pytest.mark.parametrize("path", ["/v1/messages?beta=true", "/api/v1/generate"])
def test_a_request_without_a_thread_is_told_when_to_come_back_in_the_shape_of_its_path(path):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        write_problem(ours, 503, "Service Unavailable", f"{path} HTTP/1.1\r\n")
        head, _, body = theirs.recv(4096).decode().partition("\r\n\r\n")

    document, lines = json.loads(body), head.split("\r\n")
    assert head.startswith("HTTP/1.1 503 ")
    assert "Retry-After: 1" in lines
    if path.startswith("/v1/"):
        assert (document["error"]["type"], document["error"]["details"]) == (
            "overloaded_error",
            {"error_code": "over_capacity"},
        )
        assert {"x-should-retry: true", "Content-Type: application/json"} <= set(lines)
    else:
        assert (document["code"], document["status"]) == ("over_capacity", 503)
        assert "Content-Type: application/problem+json" in lines


@pytest.fixture
def log_lines():
    """What gunicorn's logger has written."""
    logger, lines = MaskingLogger(GunicornConfig()), []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())
    logger.error_log.addHandler(handler)
    yield lambda *said: (logger.warning(*said), lines)[1]
    logger.error_log.removeHandler(handler)


def test_a_key_in_a_line_that_gunicorn_could_not_read_is_masked(log_lines):
    lines = log_lines("Quoted: %s, %r and %s", "GET /?key=obol_0123abcDEF_x HTTP/0.9", b"obol_", "sk-ant-api03-a_B-c d")

    assert lines == ["Quoted: GET /?key=obol_[masked] HTTP/0.9, b'obol_' and sk-ant-[masked] d"]


@pytest.mark.parametrize("error", [InvalidRequestLine("my"), InvalidHeader("my\nsecret"), InvalidChunkSize(b"my")])
def test_what_gunicorn_takes_for_a_request_may_be_a_prompt_and_is_not_logged(log_lines, error):
    (line,) = log_lines(f"Invalid request from ip=127.0.0.1: {error}")

    assert line.startswith("Invalid request from ip=127.0.0.1: Invalid ")
    assert line.endswith("[…]")
    assert "my" not in line


class Exited(Exception):
    """In place of the end of this process."""


@pytest.fixture
def worker(monkeypatch):
    """A worker whose lease cannot be ended."""

    def fail():
        raise RuntimeError("no")

    def exit(code):
        raise Exited(code)

    monkeypatch.setattr(os, "_exit", exit)
    services = SimpleNamespace(lease=SimpleNamespace(stop=fail))
    monkeypatch.setattr("service.server._services", lambda worker: services)
    return SimpleNamespace(booted=True, log=logging.getLogger("worker"))


def test_a_lease_that_cannot_be_ended_does_not_keep_the_worker(worker, caplog):
    with pytest.raises(Exited, match="0"):
        worker_exit(None, worker)

    assert "It lapses by itself" in caplog.text


def test_a_worker_that_has_not_booted_ends_with_its_own_code(worker):
    worker.booted = False

    worker_exit(None, worker)


def test_a_database_that_does_not_start_ends_the_master(monkeypatch, capsys):
    class Environment:
        def __enter__(self):
            raise EmbeddedError("it does not start")

    monkeypatch.setattr("service.server._environment", Environment())

    with pytest.raises(SystemExit) as ended:
        on_starting(None)

    assert ended.value.code == 2
    assert capsys.readouterr().err == "obol: it does not start\n"


def test_a_database_that_cannot_be_used_ends_the_master(monkeypatch, capsys):
    monkeypatch.setattr("service.server._environment", nullcontext({}))
    monkeypatch.setattr("service.server.atexit.register", lambda *at_exit: None)
    for name, value in {**SETTINGS, "DATABASE_URL": "postgresql://a:secret@127.0.0.1:1/c"}.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SystemExit) as ended:
        on_starting(None)

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("obol: the database of DATABASE_URL cannot be used: connection to server at ")
    assert "secret" not in said


def test_a_login_that_cannot_be_looked_at_is_said_and_keeps_nobody(monkeypatch):
    def fail(database):
        raise Problem("database_error", "down")

    started = []
    chores = SimpleNamespace(start=lambda: None)
    services = SimpleNamespace(database=None, lease=SimpleNamespace(start=lambda: started.append(True)), chores=chores)
    monkeypatch.setattr("service.server._services", lambda worker: services)
    monkeypatch.setattr("service.repository.processes.login_can_do_too_much", fail)
    monkeypatch.setattr("service.repository.sharding.left_out", fail)

    with capture_logs() as lines:
        post_worker_init(SimpleNamespace(age=1))

    assert started == [True]
    assert [line["event"] for line in lines] == ["login_not_checked", "sharding_not_checked"]


CHOSEN = "a phrase that an operator has chosen"


@pytest.fixture
def start(monkeypatch, urls, db):
    """`start(OBOL_ADMIN_TOKEN=…)`: what the first worker logs at its start, whose login can be looked at."""

    def begin(**environ):
        nothing = SimpleNamespace(start=lambda: None)
        services = SimpleNamespace(database=db, lease=nothing, chores=nothing)
        monkeypatch.setattr("service.server._services", lambda worker: services)
        monkeypatch.setattr("service.server._warn_of_excess", lambda services: None)
        monkeypatch.setattr(os, "environ", {"DATABASE_URL": urls.service, **environ})
        with capture_logs() as lines:
            post_worker_init(SimpleNamespace(age=1))
        return [line["event"] for line in lines]

    return begin


def test_what_is_not_distributed_though_its_neighbours_are_is_named(start, monkeypatch):
    monkeypatch.setattr("service.repository.sharding.left_out", lambda database: ["more"])

    assert start() == ["not_distributed"]


def is_good(db, token):
    try:
        return admin.check(db, Actor(keys.parse_token(token), None), "tokens") == "token:OBOL_ADMIN_TOKEN"
    except Problem:
        return False


def test_the_admin_token_is_registered_at_the_start_with_the_owner_s_url(start, urls, db, owner):
    for _ in range(2):
        assert start(OBOL_ADMIN_TOKEN=CHOSEN, OBOL_MIGRATE_URL=urls.owner) == []
        assert is_good(db, CHOSEN)
    assert len(admin.list_acts(owner)) == 1


def test_the_admin_token_is_registered_at_the_start_where_the_login_is_the_owner_s(start, urls, db):
    assert start(OBOL_ADMIN_TOKEN=CHOSEN, DATABASE_URL=urls.owner) == []
    assert is_good(db, CHOSEN)


def test_a_changed_admin_token_takes_the_place_of_the_one_before_and_none_changes_nothing(start, urls, db):
    start(OBOL_ADMIN_TOKEN=CHOSEN, OBOL_MIGRATE_URL=urls.owner)
    start(OBOL_ADMIN_TOKEN=CHOSEN + "2", OBOL_MIGRATE_URL=urls.owner)
    assert start(OBOL_MIGRATE_URL=urls.owner) == []

    assert (is_good(db, CHOSEN), is_good(db, CHOSEN + "2")) == (False, True)
    assert start(OBOL_ADMIN_TOKEN=CHOSEN, OBOL_MIGRATE_URL=urls.owner) == ["admin_token_revoked"]
    assert (is_good(db, CHOSEN), is_good(db, CHOSEN + "2")) == (False, True)


def test_a_service_without_the_owner_s_login_says_who_has_to_register_it(start, urls, db, owner):
    assert start(OBOL_ADMIN_TOKEN=CHOSEN) == ["admin_token_not_registered"]
    assert not is_good(db, CHOSEN)

    admin.register_first_token(owner, keys.parse_token(CHOSEN))
    assert start(OBOL_ADMIN_TOKEN=CHOSEN) == []
