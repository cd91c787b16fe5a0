"""A process's lease, the holds that it has in hand, and the heartbeat that tells both.

The promise rests on three sets. *Live* holds are in the hands of a thread of this process: an
id is live before the database hears of it, and until its end is certain. *Withheld* ones ended
without certainty, and their answers were not delivered: the heartbeat undoes them. *Delivered*
ones were written to the client to the end: the heartbeat notes them. A process that dies takes
all three with it; its lease lapses, and any living process gives its open holds back.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import NamedTuple
from uuid import UUID, uuid4

import structlog

from .db import Database
from .keys import LicenseKey
from .problems import Problem
from .repository import credits, holds, processes

log = structlog.get_logger()

# Beats per lease: two may fail before the lease lapses, and a dead process's holds are back
# after one lease and one beat (40 s with the default lease of 30 s).
BEATS_PER_LEASE = 3

# Old answers and keys are looked for this often; they live for hours and days.
PURGE_EVERY_S = 600

# How long a beat may wait for another one that hangs in the database.
TURN_WAIT_S = 3


class WithheldHold(NamedTuple):
    """A hold to be undone, with the key that it was opened with."""

    key: LicenseKey
    hold_id: UUID


class Leases:
    """The lease of this process.

    Args:
        database: a connection of the heartbeat's own; a busy pool must not let the lease lapse.
        lease_s: how long after its last heartbeat the process counts as alive.
        clock: seconds, monotonic.
    """

    def __init__(self, database: Database, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._db = database
        self._lease_s = lease_s
        self._clock = clock
        self._lock = threading.Lock()
        self._beating = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self.process_id = uuid4()
        self._live: set[UUID] = set()
        self._withheld: list[WithheldHold] = []
        self._delivered: list[tuple[UUID, UUID]] = []
        self._last_beat: datetime | None = None
        self._renewed_at = float("-inf")
        self._purged_at = float("-inf")
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin the heartbeat, once in each process: a forked one gets an identity of its own."""
        with self._lock:
            if self._pid != os.getpid():
                self._reset()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """End the heartbeat and the lease: tell what is left to tell, and give open holds back."""
        if self._thread is None or self._pid != os.getpid():
            return
        self._stop.set()
        self._thread.join(timeout=TURN_WAIT_S)
        try:
            self.beat()
            processes.heartbeat(self._db, self.process_id, 0)
            while holds.release_expired(self._db):
                pass
        except Problem as problem:
            log.warning("lease_not_ended", problem=str(problem), hint="it lapses by itself")

    def new_hold(self) -> UUID:
        """An id for a hold, live from now on.

        Raises:
            Problem: there is no lease (the process has just started, or was stopped for long)
                and the database gives none now.
        """
        self.start()
        if not self.alive():
            with self._turn():
                # Fifty calls may wake up at once; one of them renews for all.
                if not self.alive():
                    self._renew()
        hold_id = uuid4()
        with self._lock:
            self._live.add(hold_id)
        return hold_id

    def ended(self, hold_id: UUID) -> None:
        """The hold's end is certain, or it is for the heartbeat to find out."""
        with self._lock:
            self._live.discard(hold_id)

    def withhold(self, key: LicenseKey, hold_id: UUID) -> None:
        """The answer was not delivered though the hold may have been settled: undo it."""
        with self._lock:
            self._withheld.append(WithheldHold(key, hold_id))

    def delivered(self, license_id: UUID, hold_id: UUID) -> None:
        """The end of the answer was written to the client."""
        with self._lock:
            self._delivered.append((license_id, hold_id))

    def alive(self) -> bool:
        """Whether the lease still holds, by this process's own clock."""
        return self._clock() < self._renewed_at + self._lease_s

    def beat(self) -> None:
        """One heartbeat: renew the lease, release, note, undo.

        Raises:
            Problem: the database could not be reached; what was to be told is kept.
        """
        with self._turn():
            now = self._renew()

            # What was opened before the last beat had its id in the live set before this line,
            # so that what is not in it is nobody's. Anything younger is left for the next beat.
            with self._lock:
                live, orphans_before, self._last_beat = list(self._live), self._last_beat, now
            failed: Problem | None = None
            # One that fails (a row that somebody has locked) must not keep the others from going on.
            for step in (
                partial(self._release_expired, live, orphans_before),
                self._note_delivered,
                self._undo_withheld,
                self._purge,
            ):
                try:
                    # What came before may have taken long, and the lease must not lapse over it.
                    if self._clock() > self._renewed_at + self._lease_s / BEATS_PER_LEASE:
                        self._renew()
                    step()
                except Problem as problem:
                    failed = failed or problem
            if failed is not None:
                raise failed

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """One beat at a time; who cannot get a turn must not wait for a stuck one for good."""
        if not self._beating.acquire(timeout=TURN_WAIT_S):
            raise Problem("over_capacity", "The heartbeat waits for the database. Ask again.")
        try:
            yield
        finally:
            self._beating.release()

    def _renew(self) -> datetime:
        """Renew the lease; returns the database's time."""
        asked_at = self._clock()
        now = processes.heartbeat(self._db, self.process_id, self._lease_s)
        # From before the question: by the database's clock the lease ends later than by ours.
        self._renewed_at = asked_at
        return now

    def _release_expired(self, live: list[UUID], orphans_before: datetime | None) -> None:
        """Batch after batch, but not past the next beat: a dead process may have left thousands,
        and the lease of a living one must not lapse over them."""
        give_up_at = self._clock() + self._lease_s / BEATS_PER_LEASE
        while holds.release_expired(self._db, self.process_id, live, orphans_before) and self._clock() < give_up_at:
            pass

    def _undo_withheld(self) -> None:
        with self._lock:
            withheld = list(self._withheld)
        give_up_at = self._clock() + self._lease_s / BEATS_PER_LEASE
        failed: Problem | None = None
        for item in withheld:
            if self._clock() > give_up_at:
                break
            try:
                self._undo(item)
            except Problem as problem:
                # It is tried again with the next beat; the others need not wait for it.
                failed = failed or problem
            else:
                with self._lock:
                    self._withheld.remove(item)
        if failed is not None:
            raise failed

    def _undo(self, item: WithheldHold) -> None:
        try:
            holds.release(self._db, item.key, item.hold_id, self.process_id)
        except Problem as problem:
            if problem.code in ("over_capacity", "database_error"):
                raise
            refunds = credits.refund_withheld(self._db, item.key.license_id, item.hold_id, self.process_id)
            if refunds:
                log.warning("withheld_answer_refunded", hold_id=str(item.hold_id), credits=refunds[0].amount)

    def _purge(self) -> None:
        if self._clock() < self._purged_at + PURGE_EVERY_S:
            return
        self._purged_at = self._clock()
        give_up_at = self._clock() + self._lease_s / BEATS_PER_LEASE
        while processes.purge(self._db) and self._clock() < give_up_at:
            pass

    def _note_delivered(self) -> None:
        with self._lock:
            delivered = list(self._delivered)
        if delivered:
            holds.note_deliveries(self._db, delivered)
            with self._lock:
                del self._delivered[: len(delivered)]

    def _run(self) -> None:
        while True:
            try:
                self.beat()
            except Exception as error:
                # Whatever it was, the next beat tries again: a heartbeat that ends would
                # have every hold of a healthy process taken away.
                log.error("heartbeat_failed", error=str(error))
            if self._stop.wait(self._lease_s / BEATS_PER_LEASE):
                return
