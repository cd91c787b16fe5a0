"""Licenses of another system come in: a file of them, or a request."""

import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from contextlib import closing
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

from .db import Database
from .importfile import Line, Refusal
from .keys import KeyDigest
from .problems import Problem
from .repository import imports
from .repository.admin import OWNER, Actor
from .threadpool import ThreadPool

# Lines that are in hand for each connection: enough that none waits for the reader.
_IN_HAND = 8


class Outcome(NamedTuple):
    """What became of a line: `result` is imported, unchanged or refused. `license_id` is None where it was refused,
    and where a dry run would have made one."""

    number: int
    result: str
    license_id: UUID | None = None
    refusal: Refusal | None = None


def run(
    db: Database,
    lines: Iterable[Line | Refusal],
    *,
    dry_run: bool = False,
    at_once: int = 1,
    called: str = "line ",
    actor: Actor = OWNER,
) -> Iterator[Outcome]:
    """Import lines, each in a transaction of its own, `at_once` at a time; what becomes of each, in their order.

    `called`: what a line is called, before its number.

    Whatever ends it in between, the same lines can be given again: who was imported is left unchanged.

    Raises: Problem admin_forbidden, over_capacity, database_error: the lines before it were told of, and of
        those after it some may be imported.
    """
    in_hand: deque[Future[Outcome] | Outcome] = deque()
    pool = ThreadPool(at_once, "import")
    act = partial(_import, db, dry_run=dry_run, actor=actor)
    try:
        with closing(_Seen(called)) as seen:
            for line in lines:
                one = line if isinstance(line, Refusal) else seen.refusal(line) or line
                if isinstance(one, Refusal):
                    in_hand.append(Outcome(one.number, "refused", refusal=one))
                else:
                    in_hand.append(pool.run(act, one))
                if len(in_hand) >= _IN_HAND * at_once:
                    yield _outcome(in_hand.popleft())
            while in_hand:
                yield _outcome(in_hand.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _outcome(one: Future[Outcome] | Outcome) -> Outcome:
    return one if isinstance(one, Outcome) else one.result()


def _import(db: Database, line: Line, *, dry_run: bool, actor: Actor) -> Outcome:
    key = KeyDigest(uuid4(), line.digest)
    try:
        made = imports.import_license(
            db,
            key,
            credits=line.credits,
            status=line.status,
            expires_at=line.expires_at,
            external_id=line.external_id,
            name=line.name,
            dry_run=dry_run,
            actor=actor,
        )
    except Problem as problem:
        if problem.code != "already_exists":
            raise
        refusal = Refusal(line.number, problem.extra["field"], problem.detail, problem.code)
        return Outcome(line.number, "refused", refusal=refusal)
    return Outcome(line.number, made.result, made.license_id)


class _Seen:
    """The keys and external ids of the lines so far, on disk where they are many. The database would find them
    too, but not in a dry run, which writes nothing."""

    def __init__(self, called: str) -> None:
        self._called = called
        # A file without a name, that goes with the connection.
        self._seen = sqlite3.connect("", isolation_level=None)
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("CREATE TABLE seen (value, number INTEGER NOT NULL, PRIMARY KEY (value)) WITHOUT ROWID")
        self._seen.execute("BEGIN")

    def refusal(self, line: Line) -> Refusal | None:
        """Why a line is refused for one before it, which it repeats."""
        # Bytes are never equal to text.
        for field, value in (("key", line.digest), ("external_id", line.external_id)):
            if value is not None:
                added = self._seen.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (value, line.number))
                if not added.rowcount:
                    ((number,),) = self._seen.execute("SELECT number FROM seen WHERE value = ?", (value,))
                    return Refusal(
                        line.number,
                        field,
                        f"is that of {self._called}{number} again; leave one of them out",
                        "already_exists",
                    )
        return None

    def close(self) -> None:
        self._seen.close()
