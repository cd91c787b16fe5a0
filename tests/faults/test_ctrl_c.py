"""Ctrl-C, once and held down: nobody waits for running answers, and everything is given back."""

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from factories import ROOT, Served, free_port, wait_until

# It does not come before the test is over.
BODY = json.dumps({"prompt": "[sandbox delay_ms=1] Hello", "max_tokens": 50}).encode()

LEASES = "SELECT count(*) FROM obol.processes WHERE lease_expires_at > clock_timestamp()"


def press_ctrl_c(served):
    """SIGINT for the whole group, as from a terminal."""
    os.killpg(served.process.pid, signal.SIGINT)


def hold_ctrl_c_down(served):
    """SIGINT again and again, until the end of the server."""

    def ended():
        return served.process.poll() is not None or press_ctrl_c(served)

    wait_until(ended, 60, "the end of the server")


@pytest.fixture
def running(serve, pace, new_license, holds):
    """A server and the call that it waits for."""
    served = serve()
    license = new_license(credits=10_000)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(served.try_post, "/api/v1/generate", BODY, license.headers)
        wait_until(lambda: holds() == ["held"], what="an open hold")
        yield served, call
        pace.go_on()


@pytest.mark.parametrize("press", [press_ctrl_c, hold_ctrl_c_down], ids=["once", "held down"])
def test_ctrl_c_does_not_wait_and_gives_the_holds_back(press, running, holds, charges, sql, verified):
    served, call = running

    press(served)

    # Held down, it may end a master that has nothing left to do before its own exit code.
    served.process.wait(60)
    assert call.result() is None
    assert holds() == ["expired"]
    assert charges() == []
    assert sql(LEASES) == [(0,)]
    verified()


def test_ctrl_c_ends_the_wait_that_sigterm_began(running, terminate, holds, charges, verified):
    served, call = running
    terminate(served)

    press_ctrl_c(served)

    assert served.process.wait(60) == 0
    assert call.result() is None
    assert holds() == ["expired"]
    assert charges() == []
    verified()


def test_ctrl_c_while_calls_come_in(serve):
    served = serve(WEB_CONCURRENCY="2")
    wait_until(lambda: len(served.workers()) == 2, what="two workers")
    with ExitStack() as connections:
        for worker in served.workers():
            os.kill(worker, signal.SIGSTOP)
        calls = [connections.enter_context(socket.create_connection(("127.0.0.1", served.port))) for _ in range(100)]
        for call in calls:
            call.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        for worker in served.workers():
            os.kill(worker, signal.SIGCONT)
        # One is answered, and the others are being given to threads, each to a new one: gunicorn's own
        # handler waits for ever when it interrupts that.
        select.select(calls, [], [], 60)
        press_ctrl_c(served)

        assert served.process.wait(60) == 0


@pytest.fixture
def development():
    """The environment of development mode, with a folder that the embedded PostgreSQL's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="obol-dev-"))
    folder.chmod(0o755)
    environ = {"OBOL_DEV": "1", "OBOL_DATA_DIR": str(folder)}
    yield environ
    for left in postmasters(environ):
        os.kill(int(left.read_text().split()[0]), signal.SIGQUIT)
    shutil.rmtree(folder)


def postmasters(development):
    return list(Path(development["OBOL_DATA_DIR"]).rglob("postmaster.pid"))


def test_ctrl_c_while_a_worker_starts_stops_the_embedded_postgresql(development, tmp_path):
    served = Served(development, tmp_path / "served.log")
    try:
        wait_until(lambda: "Booting worker" in served.log.read_text(), 60, "a worker")
        assert len(postmasters(development)) == 1
        hold_ctrl_c_down(served)
    finally:
        served.stop()

    assert postmasters(development) == []


def test_a_master_that_cannot_listen_stops_the_embedded_postgresql(development):
    gunicorn = Path(sys.executable).parent / "gunicorn"
    ended = subprocess.run(
        [gunicorn, "--certfile", "no-such-file", "wsgi:app"],
        cwd=ROOT,
        env={**os.environ, **development, "PORT": str(free_port())},
        capture_output=True,
        timeout=90,
    )

    assert b"no-such-file" in ended.stderr
    assert postmasters(development) == []
