"""What a call costs, in figures that do not depend on the machine: how often it looks into each table, the rows that it
writes there, bytes of WAL, and the bytecodes that Python executes for it. tests/api/test_round_trips.py counts the
statements."""

import gc
import statistics
import sys
from collections import Counter
from collections.abc import Callable
from threading import Thread
from typing import Any, NamedTuple

import psycopg2
from flask import Flask
from sqlalchemy import text
from werkzeug.test import EnvironBuilder, run_wsgi_app

from service.dev.embedded import Urls
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

    def cost(self, make: Callable[[int], Request]) -> Cost:
        """The median of some calls, which `make(n)` gives: what comes once in a while (a beat, a look for new prices,
        a page that is full) is none of a call's."""
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

    def _call(self, request: Request) -> int:
        """Make a call; the bytecodes that were executed for it."""
        environ = EnvironBuilder(request.path, method="POST", json=request.body, headers=request.headers).get_environ()
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


def bytecodes_of(act: Callable[[], object]) -> int:
    """How many bytecodes are executed in `act`, in a thread of its own: what else traces, goes on."""
    count = 0

    def trace(frame: Any, event: str, _argument: object) -> Any:
        nonlocal count
        if event == "opcode":
            count += 1
        else:
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return trace

    failed: list[BaseException] = []

    def traced() -> None:
        sys.settrace(trace)
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
    return count
