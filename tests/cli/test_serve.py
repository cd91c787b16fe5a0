"""`obol serve` and `obol sandbox`, the installed command, and the demo license of `make run`."""

import json
import os
import signal
import socket
import subprocess
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from ended import KEY, NOWHERE
from factories import free_port, run, wait_until

from service import cli, keys
from service.cli import serving
from service.config import load
from service.repository import licenses


def test_the_demo_license_is_made_once(urls, config, capsys, db):
    key = serving._demo_license(config)
    printed = capsys.readouterr().out

    assert KEY.findall(printed) == [key]
    assert not printed[: printed.index(key)].count("obol_")
    assert licenses.find(db, keys.parse(key)).balance == serving.DEMO_CREDITS
    assert serving._demo_license(config) is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "from the sandbox, not from a model."),
        ({"ANTHROPIC_API_KEY": "k"}, "from the real model."),
        ({"ANTHROPIC_BASE_URL": "http://a.test"}, "from http://a.test."),
        ({"ANTHROPIC_API_KEY": "k", "ANTHROPIC_BASE_URL": "http://a.test"}, "from the real model, at http://a.test."),
    ],
)
def test_who_answers_is_said(given, said):
    told = serving._how_to_ask(load({"OBOL_DEV": "1", **given}), None, "obol")

    assert f"Obol is ready at http://127.0.0.1:8000. Answers come {said}\n" in told
    # Programs take the first such word for the demo license's key.
    assert "obol_" not in told


def test_the_installed_command(program, urls):
    made = program("license", "create", "--credits", 5, "--json", DATABASE_URL=urls.owner)

    assert (made.code, made.err, made.json["balance"]) == (0, "", 5)
    assert program("verify").code == 2
    assert program("verify", DATABASE_URL=NOWHERE).code == 3


def answers(url):
    try:
        with urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture
def serving_on(started, environ):
    """`serving_on(port, *options, **environment)`: `obol serve`, once it is ready."""

    def serve(port, *options, **environment):
        process = started("serve", *options, **{"WEB_CONCURRENCY": "1"} | environ | environment, PORT=str(port))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60, "readyz")
        return process

    return serve


def test_serve(serving_on, new_license):
    license = new_license()
    port = free_port()
    process = serving_on(port)

    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    # The project's own configuration is in force, from whatever folder.
    assert f"Listening at: http://127.0.0.1:{port} " in printed
    assert "Using worker: service.worker.Worker" in printed
    assert license.raw_key not in printed
    assert "Obol is ready" not in printed


@pytest.mark.parametrize("option", ["--bind", "-b"])
def test_serve_at_an_address_of_gunicorn_s(started, environ, option):
    port = free_port()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ |= {"PORT": str(taken.getsockname()[1])}
        process = started("serve", option, f"127.0.0.1:{port}", "--workers", "1", **environ)
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 60, "readyz")
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


@pytest.mark.timeout(300)
def test_the_lines_of_every_start_run_as_they_stand(serving_on, empty_database):
    database = {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    for is_first in (True, False):
        process = serving_on(free_port(), "--demo", WEB_CONCURRENCY="2", **database)
        lines = []
        while not (lines and lines[-1].startswith("    curl")):
            lines.append(process.stdout.readline())
        script = "".join(line for line in lines if line.startswith(("    curl", "    KEY=")))
        ran = subprocess.run(
            ["sh", "-c", script], env=os.environ | database, capture_output=True, text=True, timeout=60
        )
        process.send_signal(signal.SIGINT)
        printed = "".join(lines) + process.communicate(timeout=60)[0]

        assert process.returncode == 0
        assert json.loads(ran.stdout)["credits"]["charged"] == 33, ran.stderr
        assert len(KEY.findall(printed)) == (2 if is_first else 0)
        assert ("Licenses are there already" in printed) != is_first


@pytest.mark.parametrize(("option", "command"), [("--demo", "make run"), ("--preload", "obol serve")])
def test_a_port_that_is_taken_is_said_before_anything_is_done(bare, empty_database, option, command):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        environ = {"DATABASE_URL": empty_database.owner, "ANTHROPIC_API_KEY": "none"}
        refused = bare("serve", option, **environ, PORT=str(port))

    said = f"obol: port {port} cannot be used (Address already in use). Choose another: PORT=8080 {command}\n"
    assert refused == (2, "", said)
    assert run(empty_database.owner, "SELECT FROM pg_namespace WHERE nspname = 'obol'") == []


@pytest.mark.parametrize("wrong", ["password", "port"])
def test_a_database_that_cannot_be_used_ends_the_master_with_the_reason(program, environ, urls, wrong):
    password = urlsplit(urls.service).password
    url = NOWHERE if wrong == "port" else urls.service.replace(password, "wrong-password")
    refused = program("serve", **environ | {"DATABASE_URL": url, "PORT": str(free_port())})

    assert refused.code == 2
    (line,) = (line for line in refused.err.splitlines() if line.startswith("obol: "))
    assert line.startswith("obol: the database of DATABASE_URL cannot be used: connection to server at ")
    assert {"password": "password authentication failed", "port": "Connection refused"}[wrong] in line
    assert "wrong-password" not in refused.out + refused.err
    assert "Booting worker" not in refused.err


@pytest.mark.parametrize("missing", ["DATABASE_URL", "ANTHROPIC_API_KEY"])
def test_serve_names_what_is_missing(program, environ, missing):
    refused = program("serve", **{name: value for name, value in environ.items() if name != missing})

    assert refused.code == cli.WRONG_USAGE
    assert f"obol: {missing} is not set" in refused.err


def test_sandbox(started):
    port = free_port()
    process = started("sandbox", "--port", port)
    assert process.stdout.readline() == (
        f"The sandbox, not a model, answers at http://127.0.0.1:{port} (ANTHROPIC_BASE_URL).\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 401 ")

    os.killpg(process.pid, signal.SIGINT)
    assert process.wait(10) == 130


def test_sandbox_on_a_port_that_is_taken(bare):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refused = bare("sandbox", "--port", port)

    assert refused.code == 2
    assert refused.err.startswith(f"obol: port {port} cannot be used")
    assert "--port" in refused.err
