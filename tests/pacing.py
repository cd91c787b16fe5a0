"""A model that waits for the test's word."""

from threading import Event, Semaphore

# Seconds.
_LATE_S = 60


class Pace:
    """What the sandbox waits for before a late answer (`delay_ms`) and between the events of a stream
    (`event_delay_ms`): not for time, but for the test. However slow the machine is, an answer is not
    over before the test says so."""

    def __init__(self) -> None:
        self._steps = Semaphore(0)
        self._free = Event()

    def step(self, count: int = 1) -> None:
        """Let so many waits end."""
        self._steps.release(count)

    def go_on(self) -> None:
        """Wait no more."""
        self._free.set()

    def hold(self) -> None:
        """Wait again."""
        self._free.clear()

    def sleep(self, seconds: float) -> None:
        # Whoever is not told to be late sleeps for nothing; whoever is told to be a minute late takes no step
        # of others.
        if seconds >= _LATE_S:
            self._free.wait()
        while seconds and not self._free.is_set() and not self._steps.acquire(timeout=0.01):
            pass
