"""One thread that waits for all streams at once.

A thread that waits for the next event of its own stream, and wakes for it, costs more than all that is done with the
event: with a thousand streams the system and the interpreter do little else. So what comes most, and is done with in a
moment, is done here for all of them; for everything else, and for all that may wait, a stream has its thread.
"""

import selectors
import threading
import time
from typing import Any, Protocol

import structlog

log = structlog.get_logger()

# Streams of which nothing has come for too long are looked for this often.
_SWEEP_S = 1


class Waiting(Protocol):
    """What is waited for in place of a thread."""

    def fileno(self) -> int: ...

    def go_on(self) -> bool:
        """Do what can be done without waiting; false when the thread has to go on itself. It raises nothing."""

    def is_overdue(self) -> bool:
        """Whether nothing has come for too long; then the thread goes on itself."""


class Relay:
    """Safe under threads. Once it has begun to wait, it is of one process alone."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asleep: dict[Waiting, threading.Lock] = {}
        # Made when it is used first: then the master has forked its workers.
        self._selector: selectors.BaseSelector | None = None

    def wait(self, waiting: Waiting) -> None:
        """Go on with it, and return when the thread has to: at once, where the system has no room for waiting here."""
        if not waiting.go_on():
            return
        alarm = threading.Lock()
        alarm.acquire()
        try:
            with self._lock:
                selector = self._selector or self._begin()
                selector.register(waiting, selectors.EVENT_READ)
                self._asleep[waiting] = alarm
        except (OSError, RuntimeError) as error:
            log.warning("relay_full", reason=str(error))
            return
        alarm.acquire()

    def _begin(self) -> selectors.BaseSelector:
        selector = selectors.DefaultSelector()
        try:
            threading.Thread(target=self._run, args=(selector,), name="relay", daemon=True).start()
        except RuntimeError:
            selector.close()
            raise
        self._selector = selector
        return selector

    def _run(self, selector: selectors.BaseSelector) -> None:
        try:
            sweep_at = 0.0
            while True:
                for key, _ in selector.select(_SWEEP_S):
                    waiting: Any = key.fileobj
                    if not waiting.go_on():
                        self._wake(selector, waiting)
                now = time.monotonic()
                if now >= sweep_at:
                    sweep_at = now + _SWEEP_S
                    with self._lock:
                        overdue = [waiting for waiting in self._asleep if waiting.is_overdue()]
                    for waiting in overdue:
                        self._wake(selector, waiting)
        finally:
            # Nobody thought of what ends this; each thread waits for itself then, and the next one begins anew.
            with self._lock:
                self._selector = None
                alarms = list(self._asleep.values())
                self._asleep.clear()
                selector.close()
            for alarm in alarms:
                alarm.release()

    def _wake(self, selector: selectors.BaseSelector, waiting: Waiting) -> None:
        with self._lock:
            selector.unregister(waiting)
            alarm = self._asleep.pop(waiting)
        alarm.release()
