"""What a process does beside the calls, in a thread of its own and on connections of its own: it tells of what
nobody calls at the moment when it happens, and delivers events. Nothing of it is needed for a charge or for the lease:
where it stops, events wait."""

import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from uuid import UUID, uuid4

import structlog

from . import metrics, noticed, webhooks
from .clock import elapsed
from .db import Database
from .mail import Mailer
from .problems import Problem
from .repository import admin, payments
from .repository import webhooks as room
from .repository.webhooks import Attempt, ClaimedDelivery, DueDelivery
from .threadpool import ThreadPool

log = structlog.get_logger()

# How often it is looked for what can be delivered, and for what is to be told.
POLL_S = 1.0
LOOK_EVERY_S = 60
TAKE_EVERY_S = 60
PURGE_EVERY_S = 600
COUNT_EVERY_S = 60

# Events that are on their way at once, and those of them that go to one webhook: a slow one leaves room for others, and
# one that fails, which has one, for more.
THREADS = 8
AT_ONE_WEBHOOK = 4

# Nobody else tries an event before that: longer than a name may take to resolve, and an attempt after it.
CLAIM_S = 120

# Events of one license that are delivered one after the other before others have their turn.
MOST_IN_A_ROW = 100

# Whoever is on the way when the process ends has this long; after that the claim lapses, and it is sent again.
STOP_S = 2.0

CONNECTIONS = 2


class Chores:
    """The chores of this process.

    Args:
        database: of `CONNECTIONS` connections, its own.
        settings: for what goes to webhooks.
        mailer: for what goes out as e-mail; None: nothing does.
        clock: seconds, as `clock.elapsed` counts them.
    """

    def __init__(
        self,
        database: Database,
        settings: webhooks.Settings,
        *,
        mailer: Mailer | None = None,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        self._db = database
        self._settings = settings
        self._mailer = mailer
        self._clock = clock
        self._lock = threading.Lock()
        self._on_the_way: set[DueDelivery] = set()
        # Webhooks whose last attempt failed.
        self._failing: set[UUID] = set()
        self._looked_at = self._taken_at = self._purged_at = self._counted_at = float("-inf")
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._pool: ThreadPool | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, once in a process; after a fork, as threads do not survive one."""
        self._thread = threading.Thread(target=self._run, name="chores", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Begin nothing more, and wait a moment for what is on its way."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=STOP_S)
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def step(self) -> None:
        """Do all that is due. What fails is logged, and keeps nothing else from being done."""
        for what in (self._tell_noticed, self._look, self._take_back, self._purge, self._count, self._deliver_due):
            try:
                what()
            except Exception as error:
                log.warning("chore_failed", chore=what.__name__.strip("_"), error=str(error))

    def wait(self) -> None:
        """Until nothing is on its way."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.step()
            self._wake.wait(POLL_S)
            self._wake.clear()

    def _tell_noticed(self) -> None:
        undelivered, refusals = noticed.take()
        for status in refusals:
            room.tell_upstream_refusal(self._db, status)
        for license_id, hold_ids in undelivered.items():
            room.tell_undelivered(self._db, license_id, sorted(hold_ids))

    def _look(self) -> None:
        if self._clock() < self._looked_at + LOOK_EVERY_S:
            return
        self._looked_at = self._clock()
        for license_id in room.due_expiring(self._db):
            room.tell_expiring(self._db, license_id)
        for license_id, hold_ids in room.due_undelivered(self._db):
            room.tell_undelivered(self._db, license_id, hold_ids)
        metrics.EVENTS_WAITING.set(room.count_waiting(self._db, with_email=self._mailer is not None))

    def _take_back(self) -> None:
        if self._clock() < self._taken_at + TAKE_EVERY_S:
            return
        self._taken_at = self._clock()
        for due in payments.due_owed(self._db):
            payments.take_back(self._db, due)

    def _purge(self) -> None:
        if self._clock() < self._purged_at + PURGE_EVERY_S:
            return
        self._purged_at = self._clock()
        while room.purge(self._db) and not self._stopping.is_set():
            pass

    def _count(self) -> None:
        if self._clock() < self._counted_at + COUNT_EVERY_S:
            return
        self._counted_at = self._clock()
        while admin.roll_up_business(self._db) and not self._stopping.is_set():
            pass

    def _deliver_due(self) -> None:
        if len(self._on_the_way) >= THREADS:
            return
        due = room.due_deliveries(self._db, AT_ONE_WEBHOOK, with_email=self._mailer is not None)
        for item in due:
            with self._lock:
                at_this_one = Counter(other.webhook_id for other in self._on_the_way)[item.webhook_id]
                most = 1 if item.webhook_id in self._failing else AT_ONE_WEBHOOK
                if len(self._on_the_way) >= THREADS or at_this_one >= most or item in self._on_the_way:
                    continue
                self._pool = self._pool or ThreadPool(THREADS, "delivery")
                if not self._pool.take_thread():
                    # It is due again with the next look.
                    return
                self._on_the_way.add(item)
            self._pool.submit(self._deliver_all, item)

    def _deliver_all(self, due: DueDelivery) -> None:
        """Deliver the events of one license at one webhook, in order, as far as it takes them."""
        try:
            for _ in range(MOST_IN_A_ROW):
                if self._stopping.is_set() or not self._deliver(due):
                    return
        except Problem as problem:
            # The claim lapses, and the event is tried again.
            log.warning("chore_failed", chore="deliver", error=str(problem))
        finally:
            with self._lock:
                self._on_the_way.discard(due)
            self._wake.set()

    def _deliver(self, due: DueDelivery) -> bool:
        """Try the first event that waits; whether the next one can be tried."""
        claim_id = uuid4()
        claimed = room.claim(self._db, due, claim_id, lease_s=CLAIM_S)
        if claimed is None:
            return False
        try:
            attempt = self._attempt(due, claimed)
        except Exception as error:
            # A bug of ours must not have one event tried for ever.
            attempt = Attempt(f"{type(error).__name__} in the service")
        state = room.end(self._db, due, claim_id, attempt=attempt)
        metrics.WEBHOOK_DELIVERIES.labels(state or "lapsed").inc()
        told = partial(log.info if attempt.error is None else log.warning, "event_delivery")
        about = {"webhook_id": str(due.webhook_id), "event_id": str(claimed.event_id), "type": claimed.type}
        told(**about, state=state, status=attempt.status, error=attempt.error)
        if claimed.kind == "http":
            # One address that is wrong says nothing of the others' mail.
            with self._lock:
                (self._failing.discard if attempt.error is None else self._failing.add)(due.webhook_id)
        if claimed.kind == "http" and (attempt.error is not None or claimed.is_failing):
            paused = room.note(self._db, due.webhook_id, error=attempt.error, is_gone=webhooks.is_gone(attempt))
            if paused:
                log.error("webhook_paused", webhook_id=str(due.webhook_id), error=attempt.error)
        return state in ("delivered", "failed")

    def _attempt(self, due: DueDelivery, claimed: ClaimedDelivery) -> Attempt:
        if claimed.kind == "http":
            return webhooks.send(self._settings, due.webhook_id, claimed)
        if claimed.email is None:
            return Attempt("the license has no address any more", is_final=True)
        assert self._mailer is not None
        return self._mailer.send(claimed.email, claimed)
