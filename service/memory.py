"""Memory that was needed for a moment goes back to the system. glibc keeps what threads have freed, and more
with each large body; other systems have neither of its functions, nor the need."""

import contextlib
import ctypes
import gc

# Of mallopt. Bodies of megabytes get memory of their own, which goes back with them, whatever was freed
# before; and threads share two heaps, of which less stays behind.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_OWN_MEMORY_FROM = 1024 * 1024
_HEAPS = 2


def set_up() -> None:
    """For a process that has no threads yet."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _OWN_MEMORY_FROM)
        mallopt(_M_ARENA_MAX, _HEAPS)


def give_back() -> None:
    """Collect what refers to itself, as errors do, and return what is free."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
