"""Deductions that would wait for each other at the row of their license go to the database together.

While a call with a key is at the database, others with the same key wait here; when it comes back, the first of them
takes the others along. No call waits for more to come, so a lone one is as fast as by itself; each has an answer or a
refusal of its own, in the order in which they came.
"""

import threading
from collections import deque

from .db import Database
from .keys import KeyDigest
from .problems import Problem
from .repository import ledger
from .repository.ledger import Deduction, DeductionItem

# More in one transaction would be slow for everybody: see deduct_several.
_MOST = 50


class Deductions:
    """What this process takes for those who have a key. Safe under threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
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
        if queue is not None:
            asked.alarm.acquire()
        if queue is None or asked.leads:
            self._lead(key, asked)
        if asked.result is None:
            # It went with others, and something was wrong with all of them. It has its id: what was done is not
            # done again.
            return self._deduct(key, item)
        if isinstance(asked.result, Problem):
            raise asked.result
        return asked.result

    def _lead(self, key: KeyDigest, first: "_Asked") -> None:
        """Ask for the first and for all that came since the last call; then let the next one go."""
        with self._lock:
            queue = self._queues[key]
            others = [queue.popleft() for _ in range(min(len(queue), _MOST - 1))]
        try:
            if others:
                together = [first, *others]
                results = ledger.deduct_several(self._database, key, [asked.item for asked in together])
                for asked, result in zip(together, results, strict=True):
                    asked.result = result
            else:
                first.result = self._deduct(key, first.item)
        finally:
            with self._lock:
                if queue:
                    queue[0].leads = True
                    others.insert(0, queue.popleft())
                else:
                    del self._queues[key]
            for asked in others:
                asked.alarm.release()

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
