"""What the system is asked to do with freed memory, where it can be asked."""

import ctypes
from types import SimpleNamespace

import pytest

from service import memory


@pytest.mark.parametrize("ask", [memory.set_up, memory.give_back])
@pytest.mark.parametrize("found", [object(), OSError("no library")])
def test_where_there_is_no_glibc_memory_is_left_to_the_system(monkeypatch, ask, found):
    asked = []

    def library(name):
        asked.append(name)
        if isinstance(found, OSError):
            raise found
        return found

    monkeypatch.setattr(ctypes, "CDLL", library)

    ask()

    assert asked == [None]


def test_glibc_is_told_what_to_keep_and_when_to_let_go(monkeypatch):
    told = []
    library = SimpleNamespace(mallopt=lambda *said: told.append(said), malloc_trim=lambda keep: told.append(keep))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)

    memory.set_up()
    memory.give_back()

    # <malloc.h>: M_MMAP_THRESHOLD and M_ARENA_MAX.
    assert told == [(-3, 1024 * 1024), (-8, 2), 0]
