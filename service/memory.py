"""Memory that was needed for a moment goes back to the system. glibc keeps what threads have freed, and more
with each large body; other systems have neither of its functions, nor the need."""

import contextlib
import ctypes
import gc
import threading

# Of mallopt. Bodies of megabytes get memory of their own, which goes back with them, whatever was freed
# before; and threads share two heaps, of which less stays behind.
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_OWN_MEMORY_FROM = 1024 * 1024
_HEAPS = 2

# To collect takes the interpreter for tens of milliseconds, in which no stream goes on. So it is done now and then, or
# when so much has been left behind that it would be missed; not with each large body that somebody sends to be refused.
PAUSE_S = 3.0
MOST_LEFT_BEHIND = 64 * 1024 * 1024

# Bytes that are left behind until it is done.
_left_behind = 0
_lock = threading.Lock()


def set_up() -> None:
    """For a process that has no threads yet."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _OWN_MEMORY_FROM)
        mallopt(_M_ARENA_MAX, _HEAPS)


def leave_behind(length: int) -> None:
    """Have bytes given back soon that are in use no more, but are referred to by what refers to itself."""
    global _left_behind
    with _lock:
        is_first = not _left_behind
        _left_behind += length
        is_much = _left_behind > MOST_LEFT_BEHIND
    if is_much or (is_first and not _start_pause()):
        _give_back_left()


def _start_pause() -> bool:
    """Give back after a pause; false when the system starts no thread for that."""
    pause = threading.Timer(PAUSE_S, _give_back_left)
    pause.daemon = True
    try:
        pause.start()
    except RuntimeError:
        return False
    return True


def _give_back_left() -> None:
    global _left_behind
    with _lock:
        is_due, _left_behind = _left_behind > 0, 0
    if is_due:
        give_back()


def give_back() -> None:
    """Collect what refers to itself, as errors do, and return what is free."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
