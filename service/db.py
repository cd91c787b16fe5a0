"""The engine, and the one way to call a function of the database.

Each call is one statement on an AUTOCOMMIT connection: one round trip, one transaction. Every
money function takes an id that its caller made, so a call whose outcome is unknown (a lost
connection, a serialization failure) is asked again with the same id and never happens twice.
"""

import json
import random
import re
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import psycopg2
from psycopg2.extensions import PYDATETIMETZ, new_type, register_type
from sqlalchemy import TextClause, create_engine
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from .problems import BY_SQLSTATE, Problem

_DIALECT = PGDialect_psycopg2(paramstyle="pyformat")  # type: ignore[no-untyped-call]

# Alembic's lock; any constant that other programs in the same database are unlikely to use.
ADVISORY_LOCK = 0x0B01_0001

# "Ask again with the same id" comes back from a function when another call of the same license
# came between two of its statements: the next try finds the row settled down.
_ASK_AGAIN = {"40001", "40P01"}
_ATTEMPTS = 8

# A database that refuses connections is tried for so long: a failover takes less, and a longer outage is to be known.
_REACHED_WITHIN_S = 3.0

_NOT_MIGRATED = {"3F000", "42P01", "42883"}
_READ_ONLY = "25006"
_WORTH_A_RETRY = {"55P03", "57014", "57P01", "57P02", "57P03", _READ_ONLY}
# Classes of errors that time or an operator mends: no resources, a fault of the system.
_WORTH_A_RETRY_CLASSES = ("53", "58")


def _in_utc(value: str | bytes | None, cursor: Any) -> datetime | None:
    moment: datetime | None = PYDATETIMETZ(value, cursor)
    return None if moment is None else moment.astimezone(UTC)


# The zone of a session is the operator's to set (`ALTER DATABASE … SET timezone`), and no face is to show it. To ask
# for another as one connects would need `options`, which PgBouncer refuses; this costs a tenth of a microsecond a time.
_TIMESTAMPTZ = 1184
register_type(new_type((_TIMESTAMPTZ,), "UTC", _in_utc))

# What libpq takes and SQLAlchemy does not: several hosts, each with a port of its own.
_SEVERAL_HOSTS = re.compile(r"(postgres\w*://(?:[^:/@]*(?::[^@]*)?@)?+)([^/?@]*,[^/?@]*)(.*)", re.DOTALL)
_HOST = re.compile(r"(?:\[([^]]*)\]|([^][:]*))(?::([0-9]*))?")


def sqlalchemy_url(url: str) -> URL:
    """Take what people write (postgres://, postgresql://, several hosts) and name the driver.

    SQLAlchemy 2.1 reads a bare postgresql:// as psycopg 3, and refuses postgres://.
    """
    several = _SEVERAL_HOSTS.fullmatch(url)
    if several is not None:
        url = several[1] + several[3]
    parsed = make_url("postgresql" + url[url.index(":") :] if url.startswith("postgres") else url)
    if parsed.get_backend_name() != "postgresql":
        raise ValueError("it must begin with postgresql:// or postgres://")
    if several is not None:
        parsed = parsed.update_query_dict(_hosts_and_ports(several[2]))
    return parsed.set(drivername="postgresql+psycopg2")


def _hosts_and_ports(several: str) -> dict[str, str]:
    """The hosts of a URL as libpq takes them: a list of hosts, and one of as many ports."""
    found = [_HOST.fullmatch(host) for host in several.split(",")]
    if None in found:
        raise ValueError("its hosts must be host:port, separated by commas")
    parts = [host.groups() for host in found if host is not None]
    return {
        "host": ",".join(in_brackets or name or "" for in_brackets, name, _ in parts),
        "port": ",".join(port or "" for _, _, port in parts),
    }


class Database:
    """A small pool of connections to one PostgreSQL.

    Args:
        url: where; any postgresql:// URL.
        pool_size: connections at most; there is no overflow.
        wait_s: how long a call may wait for a free one before it fails with over_capacity, and for a new one, where the
            server refuses it, three seconds at most.
        on_wait: is told the seconds that each call did wait.
    """

    def __init__(
        self, url: str, pool_size: int, wait_s: float, *, on_wait: Callable[[float], None] = lambda _waited_s: None
    ) -> None:
        self._wait_s = wait_s
        self._on_wait = on_wait
        self._engine = create_engine(
            sqlalchemy_url(url),
            isolation_level="AUTOCOMMIT",
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=wait_s,
            # Nothing to roll back under AUTOCOMMIT: the reset would be a round trip for nothing.
            pool_reset_on_return=None,
            # Parameters hold digests and ciphertext; they have no place in an error.
            hide_parameters=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "obol",
                # Find out about a vanished server in seconds, not in the kernel's two hours.
                "keepalives_idle": 5,
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": 15000,
            },
        )

    def rows(self, statement: TextClause, **parameters: Any) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows.

        The pool is SQLAlchemy's; the statement goes to the driver as it is, because all that SQLAlchemy does
        around one was a third of the CPU of a deduction.

        Raises:
            Problem: what the function raised, by SQLSTATE; over_capacity; or database_error,
                with outcome_unknown when the statement may have been committed.
        """
        unknown: Problem | None = None
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                connection = self._connect()
            except Problem as problem:
                if unknown is None:
                    raise
                # What was asked before may have been done, and that is what counts.
                raise unknown from problem
            try:
                return _ask(connection, statement, parameters)
            except psycopg2.Error as error:
                unknown = _problem(error, is_lost=self._is_lost(connection, error))
                if not unknown.outcome_unknown or attempt == _ATTEMPTS:
                    raise unknown from error
            except BaseException as error:
                if not isinstance(error, Exception):
                    # Cut short in the middle of a statement: nobody knows what comes next on the connection.
                    connection.invalidate(error)
                raise
            finally:
                connection.close()
            time.sleep(random.uniform(0, 0.005 * 2**attempt))
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _is_lost(self, connection: PoolProxiedConnection, error: psycopg2.Error) -> bool:
        """Whether the connection is; then no other that was made before this moment is used again."""
        if self._engine.dialect.is_disconnect(error, connection, None):  # type: ignore[arg-type]
            # As SQLAlchemy's own connections do it. There is no public way to it.
            self._engine.pool._invalidate(connection, error)
            return True
        if error.pgcode == _READ_ONLY:
            # After a failover this is the old primary: the next connection finds the new one.
            connection.invalidate(error)
        return False

    def _connect(self) -> PoolProxiedConnection:
        """A connection from the pool, or a new one; nothing has been asked when there is none."""
        began_at = time.monotonic()
        try:
            return self._connect_by(began_at + min(self._wait_s, _REACHED_WITHIN_S))
        finally:
            self._on_wait(time.monotonic() - began_at)

    def _connect_by(self, give_up_at: float) -> PoolProxiedConnection:
        while True:
            try:
                return self._engine.raw_connection()
            except PoolTimeoutError as error:
                raise Problem("over_capacity", "No database connection came free in time. Ask again.") from error
            except psycopg2.Error as error:
                # The server is restarting, or takes no more connections: psycopg2 does not say.
                if time.monotonic() > give_up_at:
                    raise Problem("over_capacity", "The database could not be reached. Ask again.") from error
            time.sleep(0.1)

    def row(self, statement: TextClause, **parameters: Any) -> tuple[Any, ...]:
        """Run one statement that gives exactly one row."""
        (row,) = self.rows(statement, **parameters)
        return row

    def run(self, statement: TextClause) -> None:
        """Run one statement for what it does, and never again: for an operator, who sees how far it came.

        Raises:
            Problem: as `rows`.
        """
        connection = self._connect()
        try:
            with closing(connection.cursor()) as cursor:
                cursor.execute(_for_the_driver(statement), {})
        except psycopg2.Error as error:
            raise _problem(error, is_lost=self._is_lost(connection, error)) from error
        finally:
            connection.close()

    def close(self) -> None:
        self._engine.dispose()


def why_unreachable(url: str) -> str | None:
    """Why nobody can log in there, in libpq's words, which never have the password; None when one can."""
    engine = create_engine(
        sqlalchemy_url(url), poolclass=NullPool, hide_parameters=True, connect_args={"connect_timeout": 5}
    )
    try:
        engine.connect().close()
    except DBAPIError as error:
        return _libpq_says(error.orig)
    return None


def reason(problem: Problem) -> str | None:
    """What libpq said when a Problem of the database came of it, for an operator and for no client."""
    return _libpq_says(problem.__cause__) if isinstance(problem.__cause__, psycopg2.Error) else None


def _libpq_says(error: BaseException | None) -> str:
    # Its first line; further ones ask whether a server runs there, or have values of rows.
    return str(error).partition("\n")[0]


def _ask(connection: PoolProxiedConnection, statement: TextClause, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    try:
        cursor.execute(_for_the_driver(statement), parameters)
        return list(cursor.fetchall())
    finally:
        cursor.close()


@lru_cache(maxsize=1000)
def _for_the_driver(statement: TextClause) -> str:
    """A statement as psycopg2 wants it: `%(name)s` for `:name`."""
    return str(statement.compile(dialect=_DIALECT))


def refusal(sqlstate: str, message: str, *, detail: str | None, hint: str | None) -> Problem:
    """What a function of the database refuses, as it raises it: `detail` is JSON, what the problem has besides."""
    said = message.partition(": ")[2]
    extra = json.loads(detail) if detail else {}
    return Problem(
        BY_SQLSTATE[sqlstate].code,
        said[:1].upper() + said[1:] + "." + (f" {hint}" if hint else ""),
        extra,
        retry_after_s=extra.get("retry_after_s"),
    )


def _problem(error: psycopg2.Error, *, is_lost: bool) -> Problem:
    """Translate by SQLSTATE, never by message: the text after the prefix is only shown."""
    # psycopg2 raises a plain DatabaseError for classes that it does not know, and a lost
    # connection can come without any code: only pgcode tells them apart.
    sqlstate = error.pgcode
    if sqlstate in BY_SQLSTATE:
        diag = error.diag
        return refusal(sqlstate, str(diag.message_primary), detail=diag.message_detail, hint=diag.message_hint)
    if sqlstate in _ASK_AGAIN:
        detail = "Too many calls change this license at once. Ask again."
        return Problem("database_error", detail, retry_after_s=1, outcome_unknown=True)
    if sqlstate is None or sqlstate.startswith("08") or is_lost:
        detail = "The connection to the database was lost. Ask again."
        return Problem("database_error", detail, retry_after_s=1, outcome_unknown=True)
    if sqlstate in _NOT_MIGRATED:
        return Problem("database_error", "The database lacks what this release needs: run `obol migrate`.")
    retry_after_s = 1 if sqlstate in _WORTH_A_RETRY or sqlstate[:2] in _WORTH_A_RETRY_CLASSES else None
    return Problem("database_error", "The database could not do this.", retry_after_s=retry_after_s)
