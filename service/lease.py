"""A process's lease, the holds that it has in hand, and the heartbeat that tells both.

The promise rests on three sets of holds:

- *live*: a thread of this process has it in hand. An id is live before the database hears of it,
  and until its end is certain.
- *withheld*: its end is not certain, and its answer was not delivered. The heartbeat undoes it.
- *delivered*: its answer was written to the client to the end. The heartbeat notes it.

A process that dies takes all three with it. Its lease lapses, and any living process gives its
open holds back.
"""

import math
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import NamedTuple, TypeVar
from uuid import UUID, uuid4

import structlog

from . import metrics, migrations
from .clock import elapsed
from .db import Database
from .keys import KeyDigest
from .problems import Problem
from .repository import grants, holds, ledger, processes, usage
from .threadpool import ThreadPool

log = structlog.get_logger()

# Beats per lease: two may fail before the lease lapses, and a dead process's holds are back
# after one lease and one beat (40 s with the default lease of 30 s).
BEATS_PER_LEASE = 3

# Old answers and keys are looked for this often; they live for hours and days.
PURGE_EVERY_S = 600

# Usage is right at any moment; how often what is new of it is looked for only says how much is read to know it.
ROLL_UP_EVERY_S = 60

# An entry has the time of its making, and is seen when its transaction has ended: so much later at most, as a rule.
# What is seen later still is found with the next entry of its license.
SEEN_LATE_S = 120

# How long a beat may wait for another one that hangs in the database.
TURN_WAIT_S = 3

# Licenses that one beat sees to at once: the database commits for several in the time of one.
LICENSES_AT_ONCE = 4

# The heartbeat's own connections: a busy pool of the calls must not let the lease lapse.
CONNECTIONS = LICENSES_AT_ONCE

_HEAD = migrations.head()

T = TypeVar("T")


class WithheldHold(NamedTuple):
    """A hold to be undone, with the key that it was opened with, and what its client got all the same."""

    key: KeyDigest
    hold_id: UUID
    unpaid: holds.Unpaid | None


class Lease:
    """The lease of this process.

    Args:
        database: of `CONNECTIONS` connections, the heartbeat's own.
        lease_s: how long after its last heartbeat the process counts as alive.
        clock: seconds, as `clock.elapsed` counts them.
    """

    def __init__(self, database: Database, lease_s: float, clock: Callable[[], float] = elapsed) -> None:
        self._db = database
        self._lease_s = lease_s
        self._clock = clock
        self._lock = threading.Lock()
        self._beating = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self.process_id = uuid4()
        # Since when, by the clock; the oldest first.
        self._live: dict[UUID, float] = {}
        self._withheld: list[WithheldHold] = []
        self._delivered: dict[UUID, set[UUID]] = defaultdict(set)
        self._last_beat: datetime | None = None
        self._renewed_at = float("-inf")
        self._revision: str | None = None
        self._purged_at = float("-inf")
        self._rolled_up_at = float("-inf")
        self._rolls_up_all = True
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def start(self) -> None:
        """Begin the heartbeat, once in each process: a forked one gets an identity of its own."""
        with self._lock:
            if self._pid != os.getpid():
                self._reset()
            if self._thread is None:
                # A worker that never reaches the database has an age, too.
                metrics.LEASE_AGE_SECONDS.count_from(self._clock())
                thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)
                # One that the system does not start is started by the next call.
                thread.start()
                self._thread = thread

    def stop(self) -> None:
        """End the heartbeat and the lease: tell what is left to tell, and give open holds back."""
        if self._thread is None or self._pid != os.getpid():
            return
        self._stop.set()
        self._thread.join(timeout=TURN_WAIT_S)
        try:
            self.beat()
            processes.heartbeat(self._db, self.process_id, 0)
            self._expire_due(partial(holds.due, self._db))
        except Problem as problem:
            log.warning("lease_not_ended", problem=str(problem), hint="it lapses by itself")

    def new_hold(self) -> UUID:
        """An id for a hold, live from now on.

        Raises:
            Problem: there is no lease (the process has just started, or was stopped for long)
                and the database gives none now; or see `check_revision`.
        """
        self.start()
        self.check_revision()
        hold_id = uuid4()
        with self._lock:
            self._live[hold_id] = self._clock()
            self._tell_live()
        return hold_id

    def check_revision(self) -> None:
        """Refuse to set credits aside in a database that is not at this release's revision: what opens a hold
        may be there already, or still, and what ends it not. Then answers would leave and never be charged.

        Raises:
            Problem: over_capacity, with both revisions; or there is no lease, and the database gives none now.
        """
        if not self.is_alive():
            with self._turn():
                # Fifty calls may wake up at once; one of them renews for all.
                if not self.is_alive():
                    self._renew()
        if self._revision != _HEAD:
            detail = f"The database is at migration {self._revision}, this release at {_HEAD}. Nothing was charged."
            raise Problem("over_capacity", detail, retry_after_s=math.ceil(self._lease_s / BEATS_PER_LEASE))

    def let_go(self, hold_id: UUID) -> None:
        """The hold is live no more: its end is certain, or it is for the heartbeat to find out."""
        with self._lock:
            self._live.pop(hold_id, None)
            self._tell_live()

    def _tell_live(self) -> None:
        metrics.HOLDS_OPEN.set(len(self._live))
        metrics.HOLD_OLDEST_SECONDS.count_from(next(iter(self._live.values()), None))

    def withhold(self, key: KeyDigest, hold_id: UUID, unpaid: holds.Unpaid | None = None) -> None:
        """Have the hold undone: it may have been settled, and its answer was not delivered."""
        with self._lock:
            self._withheld.append(WithheldHold(key, hold_id, unpaid))

    def note_delivered(self, license_id: UUID, hold_id: UUID) -> None:
        """Have it noted that the end of the answer was written to the client."""
        with self._lock:
            self._delivered[license_id].add(hold_id)

    def is_alive(self) -> bool:
        """Whether the lease still holds, by this process's own clock."""
        return self._clock() < self._renewed_at + self._lease_s

    def beat(self) -> None:
        """One heartbeat: renew the lease, release, note, undo.

        Raises:
            Problem: the database could not be reached; what was to be told is kept.
        """
        with self._turn():
            now = self._renew()

            # Who opens a hold makes its id live first. So a hold that was opened before the beat
            # before this one, and is not live by now, is nobody's. A younger one waits for the next beat.
            with self._lock:
                live, orphans_before, self._last_beat = list(self._live), self._last_beat, now
            due = partial(holds.due, self._db, self.process_id, live, orphans_before=orphans_before)
            steps: tuple[Callable[[], None], ...] = (
                partial(self._expire_due, due),
                self._note_delivered,
                self._undo_withheld,
                self._change_grants,
                self._purge,
                self._roll_up,
            )
            # One step that fails (a row that somebody has locked) must not keep the others from going on.
            self._try_each(lambda step: step(), steps)

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
        """Renew the lease, and see what revision the database is at; returns its time."""
        asked_at = self._clock()
        now = processes.heartbeat(self._db, self.process_id, self._lease_s)
        self._revision = processes.revision(self._db)
        # Counted from before the question: so our clock ends the lease before the database's does. And set last:
        # who finds the lease alive goes by the revision.
        self._renewed_at = asked_at
        metrics.LEASE_AGE_SECONDS.count_from(asked_at)
        metrics.WRONG_REVISION.set(self._revision != _HEAD)
        if self._revision != _HEAD:
            log.error("wrong_revision", database=self._revision, release=_HEAD, hint="run `obol migrate`")
        return now

    def _renew_in_time(self) -> None:
        """Renew the lease when a beat has taken long: it must not lapse over the work of the beat."""
        if self._clock() > self._renewed_at + self._lease_s / BEATS_PER_LEASE:
            self._renew()

    def _try_each(self, act: Callable[[T], object], items: Iterable[T]) -> None:
        """Act on one after the other, those too that come after one that fails.

        Raises:
            Problem: the first one, once all have been tried.
        """
        failed: Problem | None = None
        for item in items:
            try:
                self._renew_in_time()
                act(item)
            except Problem as problem:
                failed = failed or problem
        if failed is not None:
            raise failed

    def _give_up_at(self) -> float:
        """When a step of a beat that begins now has to stop: a dead process may have left thousands of
        holds, and the lease of a living one must not lapse over them. What is left is for the next beat."""
        return self._clock() + self._lease_s / BEATS_PER_LEASE

    def _for_licenses(self, act: Callable[[T], object], items: Iterable[T], give_up_at: float) -> None:
        """As `_try_each`, but a few at once, and none after `give_up_at`: each may wait for a lock. What the system
        starts no thread for is done in this one: the other steps of the beat wait for it, and are not passed over."""

        def attempt(item: T) -> Problem | None:
            try:
                if self._clock() < give_up_at:
                    act(item)
            except Problem as problem:
                return problem
            return None

        with ThreadPool(LICENSES_AT_ONCE, "heartbeat") as pool:
            attempts = [pool.run(attempt, item) for item in items]
        failed = [problem for one in attempts if (problem := one.result()) is not None]
        if failed:
            raise failed[0]

    def _expire_due(self, due: Callable[[], list[holds.DueHolds]]) -> None:
        """Give back what is due."""
        give_up_at = self._give_up_at()
        failed: Problem | None = None
        before: list[holds.DueHolds] = []
        # The same again means that what is left is busy.
        while (found := due()) and found != before and self._clock() < give_up_at:
            before = found
            try:
                self._for_licenses(self._expire, found, give_up_at)
            except Problem as problem:
                failed = failed or problem
        if failed is not None:
            raise failed

    def _expire(self, item: holds.DueHolds) -> None:
        holds.expire(self._db, item.license_id, item.hold_ids, process_id=self.process_id)

    def _note_delivered(self) -> None:
        with self._lock:
            delivered = [(license_id, list(hold_ids)) for license_id, hold_ids in self._delivered.items()]
        self._for_licenses(self._note, delivered, self._give_up_at())

    def _note(self, item: tuple[UUID, list[UUID]]) -> None:
        """Note the deliveries of one license. What fails is noted with the next beat."""
        license_id, hold_ids = item
        holds.note_deliveries(self._db, license_id, hold_ids, process_id=self.process_id)
        with self._lock:
            self._delivered[license_id].difference_update(hold_ids)
            if not self._delivered[license_id]:
                del self._delivered[license_id]

    def _undo_withheld(self) -> None:
        with self._lock:
            withheld = list(self._withheld)
        give_up_at = self._give_up_at()
        self._try_each(self._undo, (item for item in withheld if self._clock() <= give_up_at))

    def _undo(self, item: WithheldHold) -> None:
        """Release the hold, or refund its charge. One that fails is tried again with the next beat."""
        try:
            holds.release(self._db, item.key, item.hold_id, process_id=self.process_id, unpaid=item.unpaid)
        except Problem as problem:
            if problem.code in ("over_capacity", "database_error"):
                raise
            refund = ledger.refund_withheld(self._db, item.key.license_id, item.hold_id, process_id=self.process_id)
            if refund is not None:
                # Booked after all, unseen by the call; and given back.
                metrics.CREDITS.labels("charge").inc(refund.amount)
                metrics.CREDITS.labels("refund").inc(refund.amount)
                log.warning("withheld_answer_refunded", hold_id=str(item.hold_id), credits=refund.amount)
        with self._lock:
            self._withheld.remove(item)

    def _change_grants(self) -> None:
        """Book what has started or ended by itself. No call depends on it; statements and overviews are timely."""
        self._try_each(partial(grants.bring_up_to_date, self._db), grants.due(self._db))

    def _purge(self) -> None:
        if self._clock() < self._purged_at + PURGE_EVERY_S:
            return
        self._purged_at = self._clock()
        give_up_at = self._give_up_at()
        while processes.purge(self._db) and self._clock() < give_up_at:
            pass

    def _roll_up(self) -> None:
        """Bring the usage of the licenses forward that have many new entries. What is left is for the next beat."""
        since_s = self._clock() - self._rolled_up_at
        if since_s < ROLL_UP_EVERY_S:
            return
        # Once all licenses, for what came before this process; then those alone that had an entry since.
        within_s = None if self._rolls_up_all else math.ceil(since_s) + SEEN_LATE_S
        give_up_at = self._give_up_at()
        is_behind = False
        while found := usage.due_rollups(self._db, within_s=within_s):
            counts: list[int] = []
            self._for_licenses(partial(self._roll_up_next, counts), found, give_up_at)
            if self._clock() >= give_up_at:
                return
            if not any(counts):
                # Another process is at all of these, and may end before it comes to those behind them.
                is_behind = True
                break
        self._rolled_up_at, self._rolls_up_all = self._clock(), is_behind

    def _roll_up_next(self, counts: list[int], license_id: UUID) -> None:
        counts.append(usage.roll_up(self._db, license_id))

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
