"""What the system is asked to do with freed memory, where it can be asked."""

import ctypes
import threading
from types import SimpleNamespace

import pytest
from factories import wait_until

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


@pytest.fixture
def collected(monkeypatch):
    """When memory was given back; nothing was left behind before."""
    collected = []
    monkeypatch.setattr(memory, "give_back", lambda: collected.append(1))
    monkeypatch.setattr(memory, "_left_behind", 0)
    return collected


def test_what_is_left_behind_is_given_back_once_after_a_pause(collected, monkeypatch):
    monkeypatch.setattr(memory, "PAUSE_S", 0.2)
    for _ in range(20):
        memory.leave_behind(1024)
    assert collected == []
    wait_until(lambda: collected)
    memory.leave_behind(1024)
    wait_until(lambda: len(collected) == 2)


def test_much_is_given_back_at_once_and_nothing_for_a_second_time(collected, monkeypatch):
    pauses = []
    monkeypatch.setattr(memory, "_start_pause", lambda: pauses.append(1) or True)
    for _ in range(3):
        memory.leave_behind(memory.MOST_LEFT_BEHIND // 2)
    assert (collected, pauses) == ([1], [1])
    memory._give_back_left()
    assert len(collected) == 1


def test_where_no_thread_starts_it_is_given_back_at_once(collected, monkeypatch):
    def refuse(_thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    memory.leave_behind(1)
    assert len(collected) == 1
