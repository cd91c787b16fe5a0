"""Databases for tests: one server for all workers, and migrated databases that are used again."""

import secrets
import shutil
import subprocess
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
from factories import run
from psycopg2 import sql
from psycopg2.extras import Json

from service.dev.embedded import SERVICE, EmbeddedPostgres, Urls

# A database rests for so many tests before it is used again: whoever still had it open has left by then.
_RESTING = 3

_TABLES = """
    SELECT c.relname::text FROM pg_class c
     WHERE c.relnamespace = 'obol'::regnamespace AND c.relkind = 'r' ORDER BY 1
"""

# Changes with every change of the schema, and with nothing else.
_SCHEMA_STATE = """
    SELECT md5(string_agg(o.version, ' ' ORDER BY o.version)) FROM (
        SELECT format('namespace %s', n.xmin) AS version FROM pg_namespace n WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('function %s %s', p.oid, p.xmin) FROM pg_proc p
          JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('relation %s %s', c.oid, c.xmin) FROM pg_class c
          JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('column %s %s %s', a.attrelid, a.attnum, a.xmin) FROM pg_attribute a
          JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('constraint %s %s', k.oid, k.xmin) FROM pg_constraint k
          JOIN pg_namespace n ON n.oid = k.connamespace WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('trigger %s %s', t.oid, t.xmin) FROM pg_trigger t
          JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'obol'
        UNION ALL
        SELECT format('setting %s', s.setconfig) FROM pg_db_role_setting s
          JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = current_database()
        UNION ALL
        SELECT format('connections %s', d.datconnlimit) FROM pg_database d WHERE d.datname = current_database()
    ) o
"""

# To find the best order of joins takes longer than any of them over the few rows of a test.
_PLANNED_AS_WRITTEN = "-c join_collapse_limit=1 -c from_collapse_limit=1 -c jit=off"

_OTHERS = """
    SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
     WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
"""


def named(urls: Urls, database: str) -> Urls:
    """The same server, another database."""
    return Urls(*(f"{url.rpartition('/')[0]}/{database}" for url in (urls.owner, urls.service)))


class Databases:
    """The migrated databases of one worker. To make one takes many times as long as to empty one.

    Args:
        server: urls of any database of the server.
        template: the database to make others from.
    """

    def __init__(self, server: Urls, template: str) -> None:
        self._server = server
        self._connection = psycopg2.connect(server.owner)
        self._connection.autocommit = True
        self._template = template
        self._resting: deque[str] = deque()
        self._state, self._empty = _look(named(server, template).owner)

    def take(self) -> str:
        """The name of a database as the template is."""
        name = f"test_{secrets.token_hex(16)}"
        if len(self._resting) < _RESTING:
            self._run(f"CREATE DATABASE {name} TEMPLATE {self._template}")
        else:
            # Under a name of its own, so that a process that somebody forgot to stop does not find it again.
            self._run(f"ALTER DATABASE {self._resting.popleft()} RENAME TO {name}")
        return name

    def give_back(self, name: str, *, keep: bool, verify: bool) -> list[Any]:
        """Empty a database for the next test; returns what `obol verify` found in it before.

        Args:
            keep: False: drop it.
            verify: whether to look.
        """
        connection = psycopg2.connect(named(self._server, name).owner, options=_PLANNED_AS_WRITTEN)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(_OTHERS)
                findings = []
                if verify:
                    cursor.execute("SELECT * FROM obol.verify()")
                    findings = cursor.fetchall()
                cursor.execute(_SCHEMA_STATE)
                keep = keep and cursor.fetchall() == [(self._state,)]
                if keep:
                    cursor.execute(self._empty)
        finally:
            connection.close()
        if keep:
            self._resting.append(name)
        else:
            self.drop(name)
        return findings

    def drop(self, name: str) -> None:
        self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(statement)


def _look(url: str) -> tuple[str, str]:
    """The state of a template's schema, and a script that makes every table what it is there."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_SCHEMA_STATE)
            ((state,),) = cursor.fetchall()
            cursor.execute(_TABLES)
            tables = [table for (table,) in cursor.fetchall()]
            # Foreign keys are not looked at, so that the order of the tables does not matter.
            script = ["BEGIN; SET LOCAL session_replication_role = replica"]
            script += [f"DELETE FROM obol.{table}" for table in tables]
            for table in tables:
                cursor.execute(f"SELECT jsonb_agg(to_jsonb(t)) FROM obol.{table} t")
                ((rows,),) = cursor.fetchall()
                if rows:
                    insert = sql.SQL("INSERT INTO {0} SELECT * FROM jsonb_populate_recordset(NULL::{0}, {1})")
                    values = sql.Literal(Json(rows))
                    script.append(insert.format(sql.Identifier("obol", table), values).as_string(connection))
            return state, "; ".join([*script, "COMMIT"])
    finally:
        connection.close()


def start_server(folder: Path, binaries: Path | None) -> tuple[EmbeddedPostgres, Urls]:
    """The PostgreSQL of a test run, and beside it in `folder` what `copy_cluster` makes others from.

    Args:
        binaries: the bin folder of another PostgreSQL than the wheel's.
    """
    # The server runs as another user when the tests run as root.
    folder.chmod(0o755)
    (folder / "server").mkdir(mode=0o755)
    server = EmbeddedPostgres(folder / "server", binaries)
    owner = server.acquire().owner
    # What a test commits need not survive the machine. The number of connections is read at the start only.
    for setting in ("fsync = off", "max_connections = 300"):
        run(owner, f"ALTER SYSTEM SET {setting}")
    _make_passwords_cheap(owner)
    server.release()
    _copy(_base(folder / "server") / "data", folder / "data")
    urls = server.acquire()
    # Many tests wait until a statement of the service waits, and know it by its text.
    run(urls.owner, f"ALTER ROLE {SERVICE} RESET track_activities")
    return server, urls


def _make_passwords_cheap(owner: str) -> None:
    """A password is hashed thousands of times with each log-in, so that who has stolen its hash has little of it.
    The tests log in a hundred thousand times."""
    if not run(owner, "SELECT FROM pg_settings WHERE name = 'scram_iterations'"):
        return  # before PostgreSQL 16
    run(owner, "ALTER SYSTEM SET scram_iterations = 1")
    login = urlsplit(owner)
    run(owner, f"SET scram_iterations = 1; ALTER ROLE {login.username} PASSWORD %s", (login.password,))


def copy_cluster(source: Path, folder: Path, binaries: Path | None) -> EmbeddedPostgres:
    """A PostgreSQL of a test's own: initdb takes longer than to copy what it has made.

    Args:
        source: the folder of the test run's server.
        folder: an empty one that the server's user can reach.
        binaries: as for `start_server`.
    """
    base = _base(source / "server")
    # As root the server's copy of the wheel serves, too.
    copies = list(base.glob("wheel-*/*/pginstall/bin"))
    cluster = EmbeddedPostgres(folder, binaries or (copies[0] if copies else None))
    shutil.copy(source / "server" / "embedded.password", folder)
    own = folder if base == source / "server" else folder / "postgres"
    own.mkdir(mode=0o755, exist_ok=True)
    _copy(source / "data", own / "data")
    return cluster


def _base(folder: Path) -> Path:
    """Where the server of a folder has its data: as root this is not the folder itself."""
    note = folder / "embedded.base"
    return Path(note.read_text()) if note.exists() else folder


def _copy(source: Path, target: Path) -> None:
    # With its owner, who is another one when the tests run as root.
    subprocess.run(["cp", "-a", source, target], check=True)
