"""Deductions that would wait for each other at the row of their license go to the database together.

While a call with a key is at the database, others with the same key wait here; when it comes back, the first of them
takes the others along. No call waits for more to come, so a lone one is as fast as by itself; each has an answer or a
refusal of its own, in the order in which they came.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

import structlog

from .db import Database
from .keys import KeyDigest
from .problems import Problem
from .repository import ledger
from .repository.ledger import Deduction, DeductionItem

log = structlog.get_logger()

# More in one transaction would be slow for everybody: see deduct_several.
_MOST = 50


class Deductions:
    """What this process takes for those who have a key. Safe under threads.

    Args:
        database: the pool for calls.
        wait_s: how long a call may wait for its turn before it fails with over_capacity.
    """

    def __init__(self, database: Database, wait_s: float) -> None:
        self._database = database
        self._wait_s = wait_s
        self._lock = threading.Lock()
        # Who waits, by the key with which a call is at the database.
        self._queues: dict[KeyDigest, deque[_Asked]] = {}

    def deduct(self, key: KeyDigest, item: DeductionItem) -> Deduction:
        """Take credits; the same again gives the first one's result.

        Raises: Problem, as `ledger.deduct`.
        """
        asked = _Asked(item)
        with self._lock:
            queue = self._queues.get(key)
            if queue is None:
                self._queues[key] = deque()
            else:
                queue.append(asked)
        if queue is None or self._waits_to_lead(queue, asked):
            self._lead(key, asked)
        if asked.result is None:
            # It went with others, and nobody knows what was done. It has its id: that is not done again.
            return self._deduct(key, item)
        if isinstance(asked.result, Problem):
            raise asked.result
        return asked.result

    def _waits_to_lead(self, queue: "deque[_Asked]", asked: "_Asked") -> bool:
        """Wait for a result, or for the turn to ask; whether it is the turn."""
        if not asked.alarm.acquire(timeout=self._wait_s):
            with self._lock:
                has_its_turn = asked not in queue
                if not has_its_turn:
                    queue.remove(asked)
            if not has_its_turn:
                detail = "Too many deductions of this license are before this one. Nothing was done. Ask again."
                raise Problem("over_capacity", detail)
            asked.alarm.acquire()
        return asked.leads

    def _lead(self, key: KeyDigest, first: "_Asked") -> None:
        """Ask for the first and for all that came since the last call; then let the next one go."""
        queue = self._queues[key]
        together = [first]
        try:
            with self._lock:
                while queue and len(together) < _MOST:
                    together.append(queue.popleft())
            if len(together) > 1:
                self._ask(key, together)
            else:
                first.result = self._deduct(key, first.item)
        finally:
            woken = together[1:]
            with self._lock:
                if queue:
                    queue[0].leads = True
                    woken.insert(0, queue.popleft())
                else:
                    del self._queues[key]
            for asked in woken:
                asked.alarm.release()

    def _ask(self, key: KeyDigest, together: "list[_Asked]") -> None:
        results: Sequence[Deduction | Problem | None]
        try:
            results = ledger.deduct_several(self._database, key, [asked.item for asked in together])
        except Exception as error:
            log.warning("deductions_failed_together", number=len(together), reason=str(error))
            if isinstance(error, Problem) and error.retry_after is not None and not error.outcome_unknown:
                # Nothing was done, and time has to mend it: alone they would all wait for the same once more.
                results = [replace(error) for _ in together]
            else:
                results = [None] * len(together)
        for asked, result in zip(together, results, strict=True):
            asked.result = result

    def _deduct(self, key: KeyDigest, item: DeductionItem) -> Deduction:
        return ledger.deduct(self._database, key, **item._asdict())


class _Asked:
    """A deduction that a thread asked for, and what became of it; None: that is not known."""

    def __init__(self, item: DeductionItem) -> None:
        self.item = item
        self.result: Deduction | Problem | None = None
        self.leads = False
        self.alarm = threading.Lock()
        self.alarm.acquire()
