"""A pool of threads for a system that may start no more of them: containers bound how many a process has."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import structlog

from .clock import elapsed

log = structlog.get_logger()

# How often a pool says that it gets no thread.
TELL_EVERY_S = 60

R = TypeVar("R")


class ThreadPool(ThreadPoolExecutor):
    """An executor whose `submit` starts no thread: who submits asks `take_thread` before each, in one and the same
    thread. An executor's own starts one when its work is queued already: where that fails, the work runs all the same,
    later or never."""

    _told_at = float("-inf")

    def take_thread(self) -> bool:
        """Have an idle thread, or a new one, for what is submitted next; once there are as many as may be, it is
        queued for the first that comes free. False: there is none, and the system starts none."""
        try:
            super()._adjust_thread_count()
        except RuntimeError as error:
            if elapsed() >= self._told_at + TELL_EVERY_S:
                self._told_at = elapsed()
                log.warning("no_more_threads", threads=len(self._threads), reason=str(error))
            return False
        return True

    def run(self, act: Callable[..., R], *args: object) -> Future[R]:
        """As `submit`; but what the system starts no thread for is done here and now."""
        if self.take_thread():
            return self.submit(act, *args)
        done: Future[R] = Future()
        try:
            done.set_result(act(*args))
        except Exception as error:
            done.set_exception(error)
        return done

    def _adjust_thread_count(self) -> None:
        """Done before, by `take_thread`."""
