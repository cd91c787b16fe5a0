"""Makes one call of the matrix and finds out what came of it, at the client's and in the database."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, NamedTuple

import psycopg2
from cases import BEFORE_CHARGE, LEFT, WHOLE, Case, Outcome
from factories import License, Served, wait_until
from wire_client import Exchange, Seen, ask, seen, told

from service.dev.sandbox import Sandbox

# Room for every hold of a cell.
CREDITS = 100_000

_LEDGER = """
    SELECT l.balance, l.held,
           (SELECT array_agg(h.state ORDER BY h.opened_at) FROM obol.holds h WHERE h.license_id = l.license_id),
           (SELECT count(*) FROM obol.ledger_entries e WHERE e.license_id = l.license_id AND e.kind = 'charge'),
           (SELECT sum(e.shortfall) FROM obol.ledger_entries e WHERE e.license_id = l.license_id)
      FROM obol.licenses l WHERE l.license_id = %s
"""

_LOCK = "SELECT FROM obol.licenses WHERE license_id = %s FOR UPDATE"


class Books(NamedTuple):
    """What the database has of a license."""

    balance: int
    held: int
    holds: list[str] | None
    charges: int
    shortfall: int


@dataclass
class Cell:
    """One call of the matrix, with a license of its own, so that nothing of the others is in its books."""

    number: int
    case: Case
    position: int
    keyed: bool
    license: License
    found: Outcome | None = None

    def __str__(self) -> str:
        kind = f"{'stream' if self.case.stream else 'JSON'}, {'with' if self.keyed else 'without'} a key"
        return f"{self.case.title.format(self.position)} ({kind})"

    @property
    def mark(self) -> str:
        return f"cell {self.number:04}"

    @property
    def body(self) -> bytes:
        directives = [f"[sandbox {self.case.directives.format(self.position)}]"] if self.case.directives else []
        prompt = " ".join(["[sandbox input_tokens=20] [sandbox output_tokens=3]", *directives, self.mark])
        request = {
            "model": "matrix",
            "max_tokens": 100,
            "stream": self.case.stream,
            "messages": [{"role": "user", "content": prompt}],
        }
        return json.dumps(request).encode()

    @property
    def headers(self) -> dict[str, str]:
        return self.license.headers | ({"Idempotency-Key": self.mark.replace(" ", "-")} if self.keyed else {})


class Runner:
    """Runs cells, in many threads at once.

    Args:
        url: of the database, as its owner.
        servers: by the names that cases have for them.
    """

    def __init__(self, url: str, upstream: Sandbox, servers: dict[str, Served]) -> None:
        self._url = url
        self._upstream = upstream
        self._servers = servers
        self._own = threading.local()

    def books(self, license: License) -> Books:
        # A connection for each question would take longer than the matrix.
        if not hasattr(self._own, "cursor"):
            connection = psycopg2.connect(self._url)
            connection.autocommit = True
            self._own.cursor = connection.cursor()
        self._own.cursor.execute(_LEDGER, (str(license.id),))
        return Books(*self._own.cursor.fetchone())

    def run(self, cell: Cell) -> None:
        """Make the call, and once more when all is over; note what came of it in the cell."""
        port = self._servers[cell.case.server].port
        client, body = self._first(port, cell)
        books = self._at_rest(cell)
        again = ask(port, cell.body, cell.headers)
        books_after = self._at_rest(cell)
        repeats = again.replayed
        if repeats:
            assert books_after == books, f"{cell}: an answer that is given again moves nothing"
            assert again.body.startswith(body), f"{cell}: the same answer, byte for byte"
        else:
            assert len(books_after.holds or ()) == len(books.holds or ()) + 1, f"{cell}: a call of its own"
            assert books_after.charges == books.charges * 2, f"{cell}: the second call ends as the first"
        (state,) = books.holds or ("none",)
        cell.found = Outcome(client, CREDITS - books.balance, state, books.charges, repeats, str(again))

    def check_upstream_calls(self, cell: Cell) -> None:
        """Each hold stands for one call of the model, and a replay for none."""
        calls = sum(cell.mark.encode() in received.body for received in self._upstream.received)
        holds = self.books(cell.license).holds or []
        assert calls == (0 if cell.case.server == "deaf" else len(holds)), f"{cell}: {calls} calls of the model"

    def _at_rest(self, cell: Cell) -> Books:
        """The books once no hold is open."""

        def ended() -> Books | None:
            books = self.books(cell.license)
            return None if "held" in (books.holds or ["held"]) else books

        books: Books = wait_until(ended, 60, f"the end of the hold of: {cell}")
        assert books.held == 0, cell
        assert books.shortfall == 0, cell
        return books

    def _first(self, port: int, cell: Cell) -> tuple[str, bytes]:
        """What the client has got, in words and as bytes of the answer."""
        if cell.case.leaves is not None:
            return self._leave(port, cell)
        with Exchange(port, cell.body, cell.headers) as exchange:
            twin = self._twin(port, cell) if cell.case.twin else ""
            got: Seen = seen(exchange)
        return str(got) + twin, got.body if got.whole else b""

    def _twin(self, port: int, cell: Cell) -> str:
        self._wait_until_asked(cell)
        return f"; the second {ask(port, cell.body, cell.headers)}"

    def _leave(self, port: int, cell: Cell) -> tuple[str, bytes]:
        assert cell.case.leaves is not None
        reset, after = cell.case.leaves(cell.position)
        exchange = Exchange(port, cell.body, cell.headers)
        events: list[bytes] = []
        if after is None:
            self._wait_until_asked(cell)
            exchange.hang_up(reset)
        else:
            assert exchange.response.status == 200, cell
            # Who is to miss the end has to be gone before the charge: right after it the end leaves.
            misses_the_end = cell.case.stream and after <= BEFORE_CHARGE
            with self._uncharged(cell) if misses_the_end else nullcontext():
                events = _first_of(exchange.events(), after) if cell.case.stream else []
                exchange.hang_up(reset)
        assert len(events) == (after or 0), cell
        return WHOLE if events and told(events)[0] else LEFT, b"".join(events)

    @contextmanager
    def _uncharged(self, cell: Cell) -> Iterator[None]:
        """Nothing is charged in this block: the row of the license is locked."""
        connection = psycopg2.connect(self._url)
        try:
            connection.cursor().execute(_LOCK, (str(cell.license.id),))
            yield
        finally:
            connection.close()

    def _wait_until_asked(self, cell: Cell) -> None:
        mark = cell.mark.encode()
        wait_until(lambda: any(mark in received.body for received in self._upstream.received), 60, f"{cell} upstream")


def _first_of(events: Iterator[bytes], count: int) -> list[bytes]:
    taken: list[bytes] = []
    with suppress(OSError, HTTPException):
        while len(taken) < count:
            taken.append(next(events))
    return taken


def listed(sql: Any) -> set[str]:
    """The licenses that have an answer on the list of undelivered ones."""
    return {license_id for (license_id,) in sql("SELECT license_id::text FROM obol.undelivered_holds")}
