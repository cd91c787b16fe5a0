"""What a call costs, in figures that do not depend on the machine: how often it looks into each table, the rows that it
writes there, bytes of WAL, and the bytecodes that Python executes for it. tests/api/test_round_trips.py counts the
statements."""

import gc
import itertools
import socket
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple
from unittest.mock import patch

import gunicorn
import psycopg2
from flask import Flask
from sqlalchemy import text
from werkzeug.test import EnvironBuilder, run_wsgi_app

from service.api import relaying
from service.db import Database
from service.dev.embedded import Urls
from service.gateway.relay import Relay
from service.http.services import services_of

# What comes by itself, and whole pages after a checkpoint, is no cost of a call; and which calls a vacuum spares
# some work is chance.
SETTINGS = ("autovacuum = off", "full_page_writes = off", "checkpoint_timeout = '1h'", "wal_compression = off")

# Caches are filled, and PL/pgSQL has decided on its plans: it makes new ones for the first five executions.
WARMING = 8
CALLS = 11

_FLUSH = text("SELECT pg_stat_force_next_flush()")
_COUNTED = """
    SELECT relname::text, (seq_scan + COALESCE(idx_scan, 0))::int, (n_tup_ins + n_tup_upd + n_tup_del)::int
      FROM pg_stat_user_tables WHERE schemaname = 'obol'
"""
_WAL = "SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint"


class Request(NamedTuple):
    """A call and the status that it is answered with."""

    path: str
    body: dict[str, Any]
    headers: dict[str, str]
    status: int = 200


# What is done with the database, without a call.
Act = Callable[[Database], object]


class Cost(NamedTuple):
    """Of one call: `looks` and `rows` by table (scans; rows inserted, updated and deleted), and what else it takes."""

    looks: dict[str, int]
    rows: dict[str, int]
    wal_bytes: int
    bytecodes: int


class _Reading(NamedTuple):
    looks: Counter[str]
    rows: Counter[str]
    wal_bytes: int


class Meter:
    """Calls of an application, one after the other, in a PostgreSQL where nobody else does anything.

    Args:
        app: its pool has one connection, and its heartbeat is rare.
        urls: of a cluster with `SETTINGS`.
    """

    def __init__(self, app: Flask, urls: Urls) -> None:
        self._app = app
        self._urls = urls

    def cost(self, make: Callable[[int], Request | Act]) -> Cost:
        """The median of some calls or acts, which `make(n)` gives: what comes once in a while (a beat, a look for new
        prices, a page that is full) is none of a call's."""
        for n in range(WARMING):
            self._call(make(n))
        costs = []
        connection = psycopg2.connect(self._urls.owner)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for n in range(WARMING, WARMING + CALLS):
                    before = self._read(cursor)
                    bytecodes = self._call(make(n))
                    after = self._read(cursor)
                    costs.append(
                        Cost(
                            after.looks - before.looks,
                            after.rows - before.rows,
                            after.wal_bytes - before.wal_bytes,
                            bytecodes,
                        )
                    )
        finally:
            connection.close()
        return Cost(
            _by_table([cost.looks for cost in costs]),
            _by_table([cost.rows for cost in costs]),
            statistics.median(cost.wal_bytes for cost in costs),
            statistics.median(cost.bytecodes for cost in costs),
        )

    def relayed(self, request: Request, events: int) -> int:
        """Bytecodes for an event that is handed on while its stream's thread waits: the median of at least so many of
        one stream. They are of the thread of all streams, from one event to the next."""
        count, marks = _Count(), []
        begin, write = Relay._run, relaying.write_chunk

        def run(*arguments: Any) -> None:
            sys.settrace(count.trace)
            begin(*arguments)

        def write_chunk(connection: socket.socket, chunk: bytes) -> bytes | None:
            marks.append(count.bytecodes)
            return write(connection, chunk)

        ours, client = socket.socketpair()
        with ours, client, patch.object(Relay, "_run", run), patch.object(relaying, "write_chunk", write_chunk):
            self._call(request, {"gunicorn.socket": ours, "SERVER_SOFTWARE": gunicorn.SERVER_SOFTWARE})
        assert len(marks) > events, marks
        return statistics.median_low(after - before for before, after in itertools.pairwise(marks))

    def _call(self, request: Request | Act, besides: dict[str, Any] | None = None) -> int:
        """Make a call; the bytecodes that were executed for it."""
        if not isinstance(request, Request):
            database = services_of(self._app).database
            return bytecodes_of(lambda: request(database))
        environ = EnvironBuilder(request.path, method="POST", json=request.body, headers=request.headers).get_environ()
        environ |= besides or {}
        answered: list[Any] = []
        count = bytecodes_of(lambda: answered.extend(run_wsgi_app(self._app.wsgi_app, environ, buffered=True)))
        body, status, _ = answered
        assert status.startswith(f"{request.status} "), b"".join(body)
        return count

    def _read(self, cursor: Any) -> _Reading:
        # By the connection that has done it all: a backend tells what it has counted when it likes.
        services_of(self._app).database.rows(_FLUSH)
        cursor.execute(_COUNTED)
        counted = cursor.fetchall()
        cursor.execute(_WAL)
        ((wal_bytes,),) = cursor.fetchall()
        looks, rows = ({row[0]: row[column] for row in counted} for column in (1, 2))
        return _Reading(Counter(looks), Counter(rows), wal_bytes)


def _by_table(counted: list[Counter[str]]) -> dict[str, int]:
    """The median for each table, of those that are counted at all."""
    medians = {table: statistics.median(one[table] for one in counted) for one in counted for table in one}
    return {table: count for table, count in sorted(medians.items()) if count}


class _Count:
    """Bytecodes that are executed where `trace` is; the ones of this file are none of what is measured."""

    def __init__(self) -> None:
        self.bytecodes = 0

    def trace(self, frame: Any, event: str, _argument: object) -> Any:
        if event == "opcode":
            self.bytecodes += 1
        elif frame.f_code.co_filename == __file__:
            return None
        else:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return self.trace


def bytecodes_of(act: Callable[[], object]) -> int:
    """How many bytecodes are executed in `act`, in a thread of its own: what else traces, goes on."""
    count = _Count()

    failed: list[BaseException] = []

    def traced() -> None:
        sys.settrace(count.trace)
        try:
            act()
        except BaseException as error:
            failed.append(error)
        finally:
            sys.settrace(None)

    # What a collection calls back would be counted, too.
    gc.disable()
    try:
        thread = Thread(target=traced)
        thread.start()
        thread.join()
    finally:
        gc.enable()
    if failed:
        raise failed[0]
    return count.bytecodes
