"""The embedded PostgreSQL is shared by processes, and back after any kill."""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from clusters import data_of, postmaster, runs
from factories import ROOT, run, wait_until

from service.dev import embedded


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True)
    return [int(word) for word in listed.stdout.split()]


@pytest.fixture
def other_process(folder):
    """`other_process()`: another user of the server; `.url` is what it got, `.leave()` ends it."""
    started = []
    program = (
        "import sys; from pathlib import Path; from service.dev.embedded import EmbeddedPostgres;"
        "server = EmbeddedPostgres(Path(sys.argv[1])); print(server.acquire().owner, flush=True);"
        "sys.stdin.read(); server.release()"
    )

    class Other:
        def __init__(self):
            self.process = subprocess.Popen(
                [sys.executable, "-c", program, folder],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            started.append(self.process)

        @property
        def url(self):
            return self.process.stdout.readline().strip()

        def leave(self):
            self.process.communicate(timeout=30)
            assert self.process.returncode == 0

    yield Other
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_processes_that_come_at_once_share_it_and_the_last_to_leave_stops_it(folder, other_process):
    one, other = other_process(), other_process()
    url = one.url

    assert other.url == url
    one.leave()
    assert run(url, "SELECT 1") == [(1,)]
    other.leave()
    assert not runs(folder)


def test_a_process_that_was_killed_no_longer_counts(server, folder, other_process):
    server.acquire()
    other = other_process()
    assert other.url
    other.process.kill()
    other.process.wait()
    server.release()

    assert not runs(folder)


def test_a_forked_child_that_releases_stops_nothing(server):
    urls = server.acquire()
    pid = os.fork()
    if pid == 0:
        server.release()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0

    assert run(urls.owner, "SELECT 1") == [(1,)]


def test_comes_back_after_kill_9_of_the_postmaster(server, folder):
    run(server.acquire().owner, "CREATE TABLE kept AS SELECT 7 AS figure")
    os.kill(postmaster(folder), signal.SIGKILL)

    assert run(server.acquire().owner, "SELECT figure FROM kept") == [(7,)]


def test_comes_back_after_kill_9_of_everything(server, folder, other_process):
    other = other_process()
    run(other.url, "CREATE TABLE kept AS SELECT 7 AS figure")
    parent = postmaster(folder)
    # The parent first: a postmaster that sees a child die starts it again.
    for pid in [other.process.pid, parent, *children(parent)]:
        # One that has seen the end of its parent may be gone by itself.
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    assert run(server.acquire().owner, "SELECT figure FROM kept") == [(7,)]


def test_a_pid_file_whose_port_somebody_else_has_is_not_taken_for_a_server(server, folder, server_urls, monkeypatch):
    """After a reboot or a kill -9 the pid file stays; here another PostgreSQL has its port by now."""
    server.acquire()
    server.release()
    port = server_urls.owner.rpartition(":")[2].partition("/")[0]
    data = data_of(folder)
    (data / "postmaster.pid").write_text(f"999999999\n{data}\n1\n{port}\n\n127.0.0.1\n")
    monkeypatch.setattr(embedded, "_START_TIMEOUT_S", 10)

    assert run(server.acquire().owner, "SELECT 1") == [(1,)]


def test_a_server_that_died_meanwhile_is_no_error_at_the_end(server, folder):
    server.acquire()
    pid = postmaster(folder)
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: not runs(folder), 10, "the end of the server")
    server.release()

    assert run(server.acquire().owner, "SELECT 1") == [(1,)]


def test_ctrl_c_while_it_stops_is_put_off_until_it_has_stopped(server, folder, monkeypatch):
    server.acquire()
    run_program = server._run

    def run_with_ctrl_c(program, *arguments, **options):
        # To this thread; the test's process has others.
        signal.raise_signal(signal.SIGINT)
        return run_program(program, *arguments, **options)

    monkeypatch.setattr(server, "_run", run_with_ctrl_c)
    # Where the tests run in the background, a shell may have had it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            server.release()
    finally:
        signal.signal(signal.SIGINT, before)

    assert not runs(folder)


def test_half_made_data_are_made_anew(server, folder):
    server.acquire()
    server.release()
    data = data_of(folder)
    # As an initdb leaves it that was killed: under its unfinished name, or (an older one) without PG_VERSION.
    shutil.copytree(data / "base", data.with_name("data-unfinished"))
    (data / "PG_VERSION").unlink()

    assert run(server.acquire().owner, "SELECT 1") == [(1,)]
    assert not data.with_name("data-unfinished").exists()
