"""`obol serve` and `obol sandbox`, the installed command, and the demo license of `make run`."""

import os
import signal
import socket
from urllib.request import urlopen

import pytest
from ended import KEY, NOWHERE
from factories import free_port, wait_until

from service import cli, keys
from service.cli import serving
from service.repository import licenses


def test_the_demo_license_is_made_once(urls, config, capsys, db):
    serving._demo_license(config)
    printed = capsys.readouterr().out
    key, in_curl = KEY.findall(printed)
    serving._demo_license(config)

    assert key == in_curl
    assert not printed[: printed.index(key)].count("obol_")
    assert licenses.find(db, keys.parse(key)).balance == serving.DEMO_CREDITS
    assert f"http://127.0.0.1:{config.port}/api/v1/generate" in printed
    assert not KEY.search(capsys.readouterr().out)


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


@pytest.mark.parametrize("options", [(), ("--demo",)])
def test_serve(started, environ, new_license, options):
    license = new_license()
    port = free_port()
    process = started("serve", *options, "--workers", 1, **environ, PORT=str(port))
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 30, "readyz")

    process.send_signal(signal.SIGTERM)
    printed = process.communicate(timeout=20)[0]
    assert process.returncode == 0
    # The project's own configuration is in force, from whatever folder.
    assert f"Listening at: http://127.0.0.1:{port} " in printed
    assert "Using worker: gthread" in printed
    assert license.raw_key not in printed
    assert ("Licenses are there already" in printed) == bool(options)


def test_serve_demo_migrates_and_makes_the_license(started, environ, empty_database):
    port = free_port()
    environ |= {"DATABASE_URL": empty_database.service, "OBOL_MIGRATE_URL": empty_database.owner}
    process = started("serve", "--demo", "--workers", "1", **environ, PORT=str(port))
    wait_until(lambda: answers(f"http://127.0.0.1:{port}/readyz"), 30, "readyz")
    process.send_signal(signal.SIGINT)

    assert len(KEY.findall(process.communicate(timeout=20)[0])) == 2
    assert process.returncode == 0


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
