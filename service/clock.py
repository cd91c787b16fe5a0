"""The clock that leases and copies are timed by."""

import time


def elapsed() -> float:
    """Seconds, from any beginning. It goes on while the machine is suspended, where the system has such a
    clock: a lease that has lapsed meanwhile must be known to have lapsed."""
    return time.clock_gettime(_CLOCK)


# macOS counts a suspended machine in its monotonic clock.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
